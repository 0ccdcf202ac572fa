"""Prints what a query of a π0 or π0.5 costs; needs neither weights nor a GPU.

  python -m experiments.describe_openpi --config=pi05_aloha
  python -m experiments.describe_openpi --config=my_robot.json --rows=32

It traces the model at its full size. `--compile` compiles it, too, which takes
a minute, and adds the temporary memory that XLA plans on this machine. The
shortest times are arithmetic: the larger of FLOP at the peak and bytes at the
memory's rate. Nothing is measured.

Cost: some seconds; with --compile a minute.
"""

from absl import flags

from . import launch

_CONFIG = launch.define_path(
  'config',
  'pi05_aloha',
  'Name of a configuration, or a .json file; see docs/openpi.md.',
)
_ROWS = flags.DEFINE_integer(
  'rows', 1, 'Observations in one query.', lower_bound=1
)
_COMPILE = flags.DEFINE_bool(
  'compile', False, 'Whether to compile the query and print its memory.'
)


def main() -> None:
  """Traces the query of the flags."""
  from rlt_jax.vlas.openpi import config as config_lib
  from rlt_jax.vlas.openpi import cost_report

  with launch.user_errors():
    config = config_lib.load(_CONFIG.value)
    rows = _ROWS.value
    for line in cost_report.lines(config, rows, compile_it=_COMPILE.value):
      print(line)


if __name__ == '__main__':
  launch.run(main)
