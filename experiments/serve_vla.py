"""Serves a frozen VLA and its RL token to a robot or to practice.

  python -m experiments.serve_vla
  python -m experiments.serve_vla --host=0.0.0.0 --token_file=secret.txt
  python -m experiments.practice --vla=ws://127.0.0.1:8000 --workdir=runs/a

Requests and replies are those of `rlt_jax/serving/schema.py`; clients of
openpi's policy server can use it. It compiles for some seconds, then prints
"Serving on ..."; Ctrl-C ends it.
"""

import dataclasses
import logging

from absl import flags

from experiments import launch
from rlt_jax import tasks
from rlt_jax.serving import server, vla_service
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.config import PracticeConfig

_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
_PORT = flags.DEFINE_integer(
  'port', server.PORT, 'TCP port; 0 takes a free one.'
)
_TOKEN_FILE = flags.DEFINE_string(
  'token_file',
  '',
  'File with a secret that clients must send; empty needs none. See '
  'rlt_jax/serving/server.py.',
)
_VLA = flags.DEFINE_string(
  'vla',
  'pi_small',
  "Frozen VLA: 'pi_small', 'pi_small:FOLDER', or 'module:function'.",
)
_TASK = launch.define_task()
_ASSETS = launch.define_assets()
_SEED = flags.DEFINE_integer('seed', 0, "Seed of the flow's initial noise.")


def main() -> None:
  """Loads, compiles, serves."""
  logging.getLogger().setLevel(logging.WARNING)
  logging.getLogger(server.__name__).setLevel(logging.INFO)
  with launch.user_errors():
    secret = server.read_secret(_TOKEN_FILE.value)
    server.check_host(_HOST.value, secret)  # before the compiling
    config = dataclasses.replace(
      PracticeConfig(),
      vla=_VLA.value,
      task_name=_TASK.task.value,
      task=_TASK.make_config(),
    )
    task = tasks.load(config.task_name, config.task)
    vla, token, _ = assets_lib.load(_ASSETS.value, config, task.spec)
    spec = vla_service.make_spec(vla, token)
    service = server.PolicyServer(
      vla_service.make_infer(vla, token, spec, _SEED.value),
      spec.metadata(),
      host=_HOST.value,
      port=_PORT.value,
      token=secret,
    )
    try:
      service.serve_forever()
    except KeyboardInterrupt:
      print()


if __name__ == '__main__':
  launch.run(main)
