"""Serves a frozen VLA and its RL token to a robot or to practice.

  python -m experiments.serve_vla
  python -m experiments.serve_vla --host=0.0.0.0 --token_file=secret.txt
  python -m experiments.serve_vla --task= --vla=my_vla:make --assets=runs/mine
  python -m experiments.practice --vla=ws://127.0.0.1:8000 --workdir=runs/a

Requests and replies are those of `rlt_jax/serving/schema.py`, as clients of
openpi send them. It compiles for some seconds, then prints "Serving on ...";
Ctrl-C ends it. `--task=` serves a VLA for an arm without a simulated task.

Cost: about one core while it is asked.
"""

import logging

from absl import flags

from rlt_jax.serving import server

from . import launch

_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
_PORT = flags.DEFINE_integer('port', server.PORT, 'TCP port; 0: a free one.',
                             lower_bound=0, upper_bound=65535)  # fmt: skip
_TOKEN_FILE = launch.define_path(
  'token_file', '', 'File with a secret that clients must send; empty: none.'
)
_VLA = launch.define_path(
  'vla',
  'pi_small',
  "Frozen VLA: 'pi_small', 'pi_small:FOLDER', "
  "'openpi:CONFIGURATION:CHECKPOINT', or 'module:function'.",
)
_TASK = launch.define_task()
_ASSETS = launch.define_assets()
_KEYS = flags.DEFINE_multi_string(
  'key',
  [],
  "OURS=THEIRS, a client's name of an observation, such as "
  '--key=images/base=observation/image; see serving/observation_keys.py.',
)
_SEED = flags.DEFINE_integer('seed', 0, "Seed of the flow's initial noise.")


def main() -> None:
  """Loads, compiles, serves."""
  from rlt_jax import tasks
  from rlt_jax.serving import schema, vla_service
  from rlt_jax.training import assets as assets_lib
  from rlt_jax.training.config import PracticeConfig

  logging.getLogger().setLevel(logging.WARNING)
  logging.getLogger(server.__name__).setLevel(logging.INFO)
  with launch.user_errors():
    secret = server.read_secret(_TOKEN_FILE.value)
    server.check_host(_HOST.value, secret)  # before the compiling
    config, task = PracticeConfig(vla=_VLA.value), None
    if name := _TASK.task.value:  # --task= is for an arm without one
      task = tasks.load_spec(name, _TASK.make_config())
      vla_service.check_task(task)
    vla, token, _ = assets_lib.load(_ASSETS.value, config, task)
    vla_service.check_state(vla.spec, task)
    spec = vla_service.make_spec(vla, token)
    service = server.PolicyServer(
      vla_service.make_infer(vla, token, spec, _SEED.value, _KEYS.value),
      spec.metadata(),
      host=_HOST.value,
      port=_PORT.value,
      token=secret,
      max_frame_bytes=schema.max_request_bytes(spec),
    )
    try:
      service.serve_forever()
    except KeyboardInterrupt:
      print()


if __name__ == '__main__':
  launch.run(main)
