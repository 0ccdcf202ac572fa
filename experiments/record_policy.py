"""Records the agent of a run, or the frozen VLA, as demonstrations.

  python -m experiments.record_policy --out=data/base --horizon_run=20
  python -m experiments.record_policy --workdir=runs/a --out=data/agent
  python -m experiments.record_policy --workdir=runs/a --out=data/b --steps=80
  python -m experiments.record_policy --out=data/corrections --stall_s=2

Only successes get frames; demos.json counts the rest. `--steps` gives up longer
episodes, so that the fast ones are kept. With `--stall_s` a simulated person
finishes episodes that stall, and their part alone is recorded. Chunks are in
the action unit of the VLA, which can be trained on them with
`experiments.train_vla --start`. `--out=FOLDER --resume` goes on.

Cost: about 3 minutes for 704 episodes on two cores (0.5 GB).
"""

import pathlib

from absl import flags

from . import collecting, launch

_COLLECT = collecting.define_collect('data/policy')
_WORKDIR = launch.define_workdir(
  'Folder of the run whose agent acts; empty lets the VLA act alone.',
  required=False,
)
_SETTINGS = launch.define_settings()
_ASSETS = launch.define_assets()
_HORIZON_RUN = flags.DEFINE_integer(
  'horizon_run', 20, 'Control steps to run of a chunk of the VLA alone.'
)
_STALL_S = flags.DEFINE_float(
  'stall_s',
  None,
  'Seconds without progress until a simulated person takes over and finishes '
  'the episode, of which only their part is recorded; unset: nobody does.',
)


def main() -> None:
  """Records episodes and prints how they ended."""
  from rlt_jax.demonstrations import collect
  from rlt_jax.training import policies

  with launch.user_errors():
    _COLLECT.begin()
    config = collect.CollectConfig(other_every=0, **_COLLECT.fields())
    launch.check_own_settings(_WORKDIR, _SETTINGS, _HORIZON_RUN)
    if _WORKDIR.value:
      acting = policies.of_run(
        pathlib.Path(_WORKDIR.value), _ASSETS.value, config.seed
      )
    else:
      acting = policies.of_base(
        _SETTINGS.make_config(),
        [_HORIZON_RUN.value],
        _ASSETS.value,
        config.seed,
      )
    roll_out, about = acting.demonstrator(
      worlds=config.worlds, steps=config.steps, stall_s=_STALL_S.value
    )
    # A LeRobot dataset is in rad and m.
    npz = config.format == 'npz'
    space = acting.setup.perception.space if npz else None
    collector = collect.Collector(
      acting.setup.task, roll_out, config, space, about
    )
    _COLLECT.collect(collector, acting.spec)


if __name__ == '__main__':
  launch.run(main)
