"""From flags to a server; what `experiments.serve_lerobot` runs."""

import importlib.util

from rlt_jax.datasets import mapping as mapping_lib
from rlt_jax.datasets import opening
from rlt_jax.lerobot import checkpoint as checkpoint_lib
from rlt_jax.lerobot import facts as facts_lib
from rlt_jax.lerobot import service
from rlt_jax.lerobot.facts import VlaFacts
from rlt_jax.lerobot.service import LeRobotVla
from rlt_jax.rl_token import token_record
from rlt_jax.rl_token.token_record import TokenRecord
from rlt_jax.serving import schema
from rlt_jax.serving.server import PolicyServer

_TRIAL = 'go'  # an instruction for a first query; nothing acts on its answer


def find_facts(path: str, demos: str = '', mapping: str = '') -> VlaFacts:
  """Returns the facts of a file, or measures and writes them.

  Args:
    path: of the file.
    demos: the dataset; empty reads the file.
    mapping: of the dataset.

  Raises:
    ValueError: what is missing or does not fit, by name.
  """
  if bool(demos) != bool(mapping):
    raise ValueError(
      f'--demos and --mapping must come together: {demos!r}, {mapping!r}.'
    )
  if not demos:
    return facts_lib.load(path)
  recording = opening.open_recording(demos)
  if recording is None:
    raise ValueError(
      f'--demos must be the LeRobot dataset of the training: {demos} holds '
      '.npz files.'
    )
  facts = facts_lib.measure(recording, mapping_lib.load(mapping), print)
  facts_lib.save(path, facts)
  return facts


def open_vla(
  checkpoint: str,
  facts: VlaFacts,
  *,
  token: str = '',
  device: str = 'cpu',
  tokenizer: str = '',
  adapter: str = '',
) -> tuple[LeRobotVla, TokenRecord | None]:
  """Opens a policy and its token.

  Args:
    checkpoint: its folder.
    facts: of the robot.
    token: folder of the token; empty before it is trained.
    device, tokenizer: see `checkpoint.load`.
    adapter: see `families.load`.

  Raises:
    ValueError: what is missing or does not fit, by name.
  """
  checkpoint_lib.check_files(checkpoint)
  if importlib.util.find_spec('lerobot') is None:
    raise ValueError(
      'This command must run in an environment with LeRobot: none is installed '
      'here. docs/lerobot.md says how to make one.'
    )
  loaded = checkpoint_lib.load(checkpoint, device=device, tokenizer=tokenizer)
  vla = LeRobotVla(loaded, facts, adapter=adapter)
  if not token:
    return vla, None
  return vla, token_record.read(token, vla_fingerprint=vla.fingerprint)


def make_server(
  vla: LeRobotVla,
  token: TokenRecord | None,
  *,
  token_dtype: str = 'float16',
  seed: int = 0,
  host: str = '127.0.0.1',
  port: int = 0,
  secret: str = '',
) -> PolicyServer:
  """Asks the policy once and returns its server, which is not open yet.

  Args:
    vla, token: of `open_vla`.
    token_dtype, seed: see `service`.
    host, port, secret: see `PolicyServer`.
  """
  spec = service.make_spec(vla, token, _TRIAL, token_dtype)
  infer = service.make_infer(vla, token, spec, seed)
  print(service.describe(vla, spec), flush=True)
  if token is None:
    print(
      'There is no RL token yet: it gives tokens to experiments.train_token.',
      flush=True,
    )
  return PolicyServer(
    infer,
    spec.metadata(),
    host=host,
    port=port,
    token=secret,
    max_frame_bytes=schema.max_request_bytes(spec),
  )
