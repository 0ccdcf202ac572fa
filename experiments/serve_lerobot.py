"""Serves a policy of LeRobot and its RL token, in LeRobot's environment.

  python -m experiments.serve_lerobot --checkpoint=outputs/pretrained_model \\
      --demos=datasets/plug --mapping=plug.json --facts=facts.json
  python -m experiments.serve_lerobot --checkpoint=outputs/pretrained_model \\
      --facts=facts.json --token=runs/mine/token

Without --token it hands out the policy's tokens, for train_token. --demos and
--mapping measure, once, what no checkpoint says. It needs no JAX and downloads
nothing; see docs/lerobot.md. Ctrl-C ends it.

Cost: that of the policy; the encoder adds about 0.1 s of a CPU core to SmolVLA.
"""

import logging
import os

from absl import flags

from rlt_jax.serving import server
from rlt_jax.serving.serving_spec import TOKEN_DTYPES

from . import launch

_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
_PORT = flags.DEFINE_integer('port', server.PORT, 'TCP port; 0: a free one.',
                             lower_bound=0, upper_bound=65535)  # fmt: skip
_SECRET = launch.define_path(
  'token_file', '', 'File with a secret that clients must send; empty: none.'
)
_CHECKPOINT = launch.define_path(
  'checkpoint', None, "Folder that LeRobot's training saved.", required=True
)
_FACTS = launch.define_path(
  'facts', None, 'JSON file of joints, units and rates.', required=True
)
_DEMOS = launch.define_path(
  'demos', '', 'Dataset of the training; writes --facts. Needs --mapping.'
)
_MAPPING = launch.define_path('mapping', '', 'Mapping file of --demos.')
_TOKEN = launch.define_path('token', '', 'Folder of the RL token, if any yet.')
_DEVICE = flags.DEFINE_string('device', 'cpu', "PyTorch's, such as cuda.")
_TOKENIZER = launch.define_path(
  'tokenizer', '', "Folder of the tokenizer; empty: the hub's cache."
)
_ADAPTER = flags.DEFINE_string(
  'adapter', '', "'module:function' for another kind of policy."
)
_DTYPE = flags.DEFINE_enum('token_dtype', TOKEN_DTYPES[0], TOKEN_DTYPES,
                           'Of tokens that train_token asks for.')  # fmt: skip
_SEED = flags.DEFINE_integer('seed', 0, 'Of noise that no client sends.')


def main() -> None:
  """Loads, compares, serves."""
  os.environ['HF_HUB_OFFLINE'] = '1'  # read when LeRobot is imported
  from rlt_jax.lerobot import serving

  logging.getLogger().setLevel(logging.WARNING)
  logging.getLogger(server.__name__).setLevel(logging.INFO)
  with launch.user_errors():
    secret = server.read_secret(_SECRET.value)
    server.check_host(_HOST.value, secret)  # before the loading
    facts = serving.find_facts(_FACTS.value, _DEMOS.value, _MAPPING.value)
    vla, token = serving.open_vla(
      _CHECKPOINT.value, facts, token=_TOKEN.value, device=_DEVICE.value,
      tokenizer=_TOKENIZER.value, adapter=_ADAPTER.value,
    )  # fmt: skip
    service = serving.make_server(
      vla, token, token_dtype=_DTYPE.value, seed=_SEED.value,
      host=_HOST.value, port=_PORT.value, secret=secret,
    )  # fmt: skip
    try:
      service.serve_forever()
    except KeyboardInterrupt:
      print()


if __name__ == '__main__':
  launch.run(main, keep_compiled=False)
