"""The frozen parts a run starts from, checked against the task."""

import importlib.resources
import pathlib
from typing import Any

from rlt_jax import files, vlas
from rlt_jax.reporting import statistics
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.rl_token import mean_token, no_token, rl_token
from rlt_jax.serving import sync_client
from rlt_jax.serving.embedder import Embedder, LocalEmbedder
from rlt_jax.serving.remote_embedder import RemoteEmbedder
from rlt_jax.tasks.task import TaskSpec
from rlt_jax.training.config import PracticeConfig
from rlt_jax.vlas import known_tasks
from rlt_jax.vlas import vla as vla_lib
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.vla import FrozenVla

_SHIPPED = PracticeConfig.vla


def load(
  folder: str, config: PracticeConfig, task: TaskSpec | None
) -> tuple[FrozenVla, rl_token.RlToken, dict[str, Any]]:
  """Loads the frozen VLA, its token and the token's measured diagnostics.

  Args:
    folder: holds token/ and, for the VLA 'pi_small', vla/. Empty for the
      shipped ones.
    config: of the run; its `vla` is opened in this process.
    task: spec of the task; None for an arm without a simulated task, whose
      station is compared with the VLA instead.

  Raises:
    ValueError: what does not fit, by name.
  """
  vla = _load_vla(folder, config, task)
  token_dir = _find_token(folder, config.vla, task)
  token = rl_token.load(token_dir, vla_fingerprint=vla.spec.fingerprint)
  record = files.read_json(token_dir / 'token.json', ('metrics',))
  return vla, token, record['metrics']


def _load_vla(
  folder: str, config: PracticeConfig, task: TaskSpec | None
) -> FrozenVla:
  vla = vlas.load(_find_vla(folder, config.vla, task))
  if task is not None:
    vla = vla.for_task(task)
    check_fit(vla.spec, config, task)
    vla_lib.check_proprio(vla, task)
    check_instructions(vla, task)
  return vla


def load_embedder(
  folder: str, config: PracticeConfig, task: TaskSpec
) -> Embedder:
  """Opens the VLA of a run with its token, here or behind a socket.

  Args:
    folder, config, task: as `load`. A server has a token of its own, so the
      folder is empty then. A token that `config.token_ablation` replaces need
      not exist, but for 'mean_tokens', which reads its statistics.

  Raises:
    ValueError: what does not fit, by name.
    OSError: no server at the address, or no such token file.
  """
  averages = config.token_ablation == 'mean_tokens'
  if not vlas.is_address(config.vla):
    replaced = config.token_ablation != 'none' and not averages
    if replaced and not _has_token(folder, config, task):
      vla = _load_vla(folder, config, task)
      return LocalEmbedder(vla, no_token.make(vla.spec))
    vla, token, metrics = load(folder, config, task)
    if averages:
      token, metrics = mean_token.make(token), {}
    return LocalEmbedder(vla, token, metrics)
  if averages:
    raise ValueError(
      "token_ablation 'mean_tokens' needs the VLA in this process; a server "
      f'answers with its token alone: {config.vla!r}.'
    )
  if folder:
    raise ValueError(
      '--assets must be empty for a VLA behind a socket, which serves its own '
      f'token: {folder!r} with {config.vla!r}.'
    )
  address, token_file = sync_client.read_address(config.vla)
  embedder = RemoteEmbedder(address, token=sync_client.read_token(token_file))
  check_fit(embedder.spec, config, task)
  vla_lib.check_proprio(embedder.spec, task)
  return embedder


def check_fit(spec: Any, config: PracticeConfig, task: TaskSpec) -> None:
  """Raises a ValueError unless a VLA fits the task and the run's chunks.

  Args:
    spec: `VlaSpec` or `ServingSpec`.
    config: of the run.
    task: spec of the task.
  """
  vla_lib.check_contract(spec, task)
  if spec.horizon < config.inference_delay + max(
    config.chunk_size, config.open_loop_steps
  ):
    raise ValueError(
      'chunk_size and open_loop_steps, after inference_delay, must fit in the '
      f"VLA's horizon {spec.horizon}: {config.chunk_size}, "
      f'{config.open_loop_steps}, {config.inference_delay}.'
    )


def check_instructions(vla: FrozenVla, task: TaskSpec) -> None:
  """Raises a ValueError unless a VLA can read all instructions of a task."""
  for text in (task.instruction, *task.phrasings, *task.other_instructions):
    try:
      vla.tokenize(text)
    except ValueError as error:
      raise ValueError(
        f"The VLA must be able to read the task's instruction {text!r}: {error}"
      ) from error


def _find_vla(folder: str, vla: str, task: TaskSpec | None) -> str:
  """Returns what `vlas.load` opens: the folder of weights for the default."""
  if vla != _SHIPPED:
    return vla
  found = pathlib.Path(folder) / 'vla' if folder else None
  return f'{_SHIPPED}:{found or pi_vla.shipped_folder(task)}'


def _find_token(
  folder: str, vla: str, task: TaskSpec | None = None
) -> pathlib.Path:
  """Returns the folder of the token that belongs to a VLA."""
  found = _token_folder(folder, vla, task)
  if found is None:
    raise ValueError(
      f'The VLA {vla!r} needs a token trained on it: train one with '
      'experiments.train_token --out=FOLDER/token and give --assets=FOLDER.'
    )
  if not (found / 'token.json').is_file():
    raise ValueError(
      f'A token must be a folder with token.json, written by '
      f'experiments.train_token: {found}.'
    )
  return found


def _has_token(
  folder: str, config: PracticeConfig, task: TaskSpec | None
) -> bool:
  found = _token_folder(folder, config.vla, task)
  return found is not None and found.exists()


def _token_folder(
  folder: str, vla: str, task: TaskSpec | None
) -> pathlib.Path | None:
  """Returns where the token of a VLA lies; None where it could lie anywhere."""
  if folder:
    return pathlib.Path(folder) / 'token'
  if vla != _SHIPPED:
    return None
  # The shipped weights and their token have folders of one name.
  package = pathlib.Path(str(importlib.resources.files('rlt_jax')))
  name = pi_vla.shipped_folder(task).name
  return package / 'rl_token' / 'assets' / name


def demonstrations(
  folder: str, vla: str, task: TaskSpec | None = None
) -> Episodes | None:
  """Returns how the demonstrations ended that the VLA learned from.

  They are in demos.json of the VLA's folder, as `experiments.train_vla` leaves
  it; None without the file, or for a VLA without such a folder.

  Args:
    folder, task: as for `load`. A VLA of several tasks has the file of each in
      a folder of the task's name.
    vla: of the run's settings.
  """
  name, _, own = vla.partition(':')
  if name != _SHIPPED:
    return None
  path = pathlib.Path(own or _find_vla(folder, vla, task).partition(':')[2])
  record = files.read_json(path / 'vla.json')
  if task is not None and len(known := record.get('tasks', ())) > 1:
    path /= known_tasks.find(known_tasks.read(known), task).name
  path /= 'demos.json'
  if not path.exists():
    return None
  return statistics.from_plain(files.read_json(path, ('outcome', 'steps')))
