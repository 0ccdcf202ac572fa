"""Serves the frozen VLA and its token to a robot's loop.

  python -m experiments.serve_vla
  python -m experiments.serve_vla --host=0.0.0.0 --token_file=secret.txt

Requests and replies are those of `rlt_jax/serving/schema.py`; clients of
openpi's policy server can talk to it. Expected: some seconds of compiling,
then "Serving on ..."; Ctrl-C ends it.
"""

import logging
import pathlib

from absl import app, flags

from rlt_jax.serving import server, vla_service
from rlt_jax.training import assets as assets_lib
from rlt_jax.training.compilation_cache import keep_compiled
from rlt_jax.training.config import PracticeConfig

_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
_PORT = flags.DEFINE_integer('port', server.PORT, 'Port; 0 takes a free one.')
_TOKEN_FILE = flags.DEFINE_string(
  'token_file', '', 'File whose text clients must send; see serving/server.py.'
)
_ASSETS = flags.DEFINE_string(
  'assets', '', 'Folder with vla/ and token/; the shipped ones by default.'
)
_SEED = flags.DEFINE_integer('seed', 0, "Of the flow's initial noise.")


def main(argv: list[str]) -> None:
  """Loads, compiles, serves."""
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {argv[1:]}')
  logging.getLogger().setLevel(logging.WARNING)
  logging.getLogger(server.__name__).setLevel(logging.INFO)
  keep_compiled()
  try:
    token_text = ''
    if _TOKEN_FILE.value:
      token_text = pathlib.Path(_TOKEN_FILE.value).read_text().strip()
      if not token_text:
        raise ValueError(f'token_file must hold a token: {_TOKEN_FILE.value}.')
    server.check_host(_HOST.value, token_text)  # before the compiling
    vla, token, _ = assets_lib.load(_ASSETS.value, PracticeConfig())
    spec = vla_service.make_spec(vla, token)
    service = server.PolicyServer(
      vla_service.make_infer(vla, token, spec, _SEED.value),
      spec.metadata(),
      host=_HOST.value,
      port=_PORT.value,
      token=token_text,
    )
    service.serve_forever()
  except (ValueError, OSError) as error:
    raise SystemExit(f'error: {error}') from None
  except KeyboardInterrupt:
    print()


if __name__ == '__main__':
  app.run(main)
