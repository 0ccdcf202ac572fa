"""Stage 1 from demonstrations to a token: frames, embeddings, training, probes.

Works for any `FrozenVla` and any other `Teacher`; alpha > 0 needs a
`TrainableVla`. `docs/stage1.md` has what it costs.
"""

import dataclasses

import jax
from jax.sharding import Mesh
import numpy as np

from rlt_jax import sharding, signals
from rlt_jax.rl_token import (
  diagnostics,
  features,
  frame_plan,
  host_memory,
  rl_token,
  train,
)
from rlt_jax.rl_token.config import TokenConfig
from rlt_jax.rl_token.frame_plan import FramePlan
from rlt_jax.rl_token.frame_reader import batches, FrameReader
from rlt_jax.rl_token.probes import probe_motion, ProbeFrames
from rlt_jax.rl_token.rl_token import RlToken
from rlt_jax.rl_token.stage1_config import Stage1Config
from rlt_jax.rl_token.teacher import Teacher, VlaTeacher
from rlt_jax.rl_token.token_data import (
  ArrayData,
  FrameEmbedder,
  StreamData,
  TokenData,
)
from rlt_jax.sitting import Sitting
from rlt_jax.types import PRNGKey
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import known_tasks
from rlt_jax.vlas.demo_source import DemoSource, MemorySource
from rlt_jax.vlas.demos import Demos
from rlt_jax.vlas.vla import FrozenVla, TrainableVla, VlaHooks

HELD_OUT = 0.1  # of the demonstrations, for the diagnostics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage1Result:
  """What `run` returns.

  vla: the one given, or with alpha > 0 the one trained along; None of a
    `Teacher` that is no VLA in this process.
  metrics: `diagnostics.diagnose` and `probes.probe_motion`, on held-out frames.
  episodes, held_out: demonstrations, and how many of them were held out.
  frames: of these demonstrations. minutes: of training.
  """

  token: RlToken
  vla: FrozenVla | None
  metrics: dict[str, float]
  episodes: int
  held_out: int
  frames: int
  minutes: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
  """A training that can begin.

  config, sitting: as given to `prepare`. mesh: None for one device.
  embedder: reads and embeds. plan: the frames. sample, test: their numbers, for
  statistics and probes and for the metrics. token_config: with the sizes.
  hooks: of the VLA with alpha > 0. data: the batches.
  """

  config: Stage1Config
  sitting: Sitting
  mesh: Mesh | None
  embedder: FrameEmbedder
  plan: FramePlan
  sample: np.ndarray
  test: np.ndarray
  token_config: TokenConfig
  hooks: VlaHooks | None
  data: TokenData


def prepare(
  vla: FrozenVla | Teacher,
  demos: DemoSource | Demos,
  config: Stage1Config,
  sitting: Sitting | None = None,
) -> Prepared:
  """Chooses the frames; with a cache it embeds or reads them. See `run`."""
  sitting = sitting or Sitting()
  source = MemorySource(demos) if isinstance(demos, Demos) else demos
  mesh = sharding.make_mesh(config.devices) if config.devices > 1 else None
  teacher = _open_teacher(vla, config, mesh)
  plan = _choose(teacher, source, config)
  _check_blocks(source, plan, config)
  reader = FrameReader(
    source=source,
    plan=plan,
    threads=config.read_threads,
    block_frames=config.buffer_frames,
  )
  embedder = FrameEmbedder(
    reader=reader,
    teacher=teacher,
    rows=config.query_rows,
    show=sitting.show,
  )
  token_config = _size(embedder, config)
  hooks = None
  if config.alpha > 0.0:
    hooks = teacher.vla.training_hooks(token_config.num_image_tokens)
  sample, test = (
    frame_plan.draw(plan.number(episodes), count, config.seed)
    for episodes, count in (
      (plan.fit, config.sample_frames),
      (plan.test, config.held_out_frames),
    )
  )
  return Prepared(
    config=config,
    sitting=sitting,
    mesh=mesh,
    embedder=embedder,
    plan=plan,
    sample=sample,
    test=test,
    token_config=token_config,
    hooks=hooks,
    data=_make_data(
      embedder, config, token_config, sample, sitting, hooks is not None
    ),
  )


def run(
  vla: FrozenVla | Teacher,
  demos: DemoSource | Demos,
  config: Stage1Config,
  sitting: Sitting | None = None,
) -> Stage1Result:
  """Trains a token on demonstrations and measures it on held-out ones.

  Args:
    vla: frozen, unless alpha > 0; or what embeds frames in its place.
    demos: prompts by this VLA's `tokenize`.
    config: the settings.
    sitting: keeps states and prints; None does neither.

  Raises:
    ValueError: alpha > 0 with a VLA that cannot be trained, demonstrations that
      do not fit it, too few of them, or more than fit in memory.
    FloatingPointError: the training diverged.
    KeyboardInterrupt: a signal asked for the end; the state is saved.
  """
  stage = signals.call(prepare, vla, demos, config, sitting)
  teacher, plan = stage.embedder.teacher, stage.plan
  source = MemorySource(demos) if isinstance(demos, Demos) else demos
  train_key, shuffle_key = jax.random.split(jax.random.key(config.seed))
  trained = train.train_token(
    train_key,
    stage.data,
    stage.token_config,
    vla=stage.hooks,
    step=config.step,
    mesh=stage.mesh,
    sitting=stage.sitting,
    settings={
      'stage1': dataclasses.asdict(config),
      'vla': teacher.spec.fingerprint,
      'demonstrations': source.describe(),
    },
  )
  fingerprint = teacher.spec.fingerprint
  vla = teacher.vla if isinstance(teacher, VlaTeacher) else None
  if config.alpha > 0.0:
    vla = vla.with_params(trained.vla_params)
    fingerprint = vla.spec.fingerprint
  token = rl_token.make(trained.params, stage.token_config, fingerprint)
  return Stage1Result(
    token=token,
    vla=vla,
    metrics=signals.call(_measure, stage, token, trained, shuffle_key),
    episodes=len(plan.episodes),
    held_out=len(plan.test),
    frames=plan.frames,
    minutes=trained.train_s / 60.0,
  )


def _make_data(
  embedder: FrameEmbedder,
  config: Stage1Config,
  token_config: TokenConfig,
  sample: np.ndarray,
  sitting: Sitting,
  joint: bool,
) -> TokenData:
  """Returns the batches; with a cache it embeds or reads all frames."""
  plan = embedder.reader.plan
  order = frame_plan.order_of(
    plan,
    block_frames=config.buffer_frames,
    frames_per_read=config.frames_per_read,
    seed=config.seed,
  )
  text = f'{plan.frames:,} frames of {len(plan.episodes):,} demonstrations'
  steps = f'Training for {config.steps:,} steps'
  if config.cache == 'none' or joint:
    if config.cache == 'memory':
      sitting.say(f'Reading {text}.')
      embedder = _hold(embedder)
    sitting.say(
      f'{steps} on {text}, after a look at {len(sample):,}; it compiles first.'
    )
    return StreamData(
      embedder=embedder,
      order=order,
      sampled=sample,
      config=token_config,
      joint=joint,
    )
  sitting.say(f'Embedding {text} with the VLA.')
  tokens, mask = _embed(embedder, np.arange(plan.frames), token_config)
  sitting.say(f'{steps}; it compiles first.')
  return ArrayData(tokens, token_config, mask=mask, order=order, sample=sample)


def _measure(
  stage: Prepared, token: RlToken, trained: train.Trained, key: PRNGKey
) -> dict[str, float]:
  """Returns the metrics on held-out frames; `key` is consumed."""
  config, embedder = token.config, stage.embedder
  stage.sitting.say(
    f'Measuring the token on {len(stage.test):,} held-out frames.'
  )
  if isinstance(stage.data, ArrayData):
    tokens, mask = stage.data.take(stage.test)
  else:
    if trained.vla_params is not None:
      embedder = embedder.with_params(trained.vla_params)
    tokens, mask = _embed(embedder, stage.test, config)
  metrics = diagnostics.diagnose(token.params, tokens, config, key, mask=mask)
  task = stage.plan.task_of(stage.test)
  for i, name in enumerate(stage.plan.tasks):
    rows = task == i
    if rows.sum() < 2:
      stage.sitting.say(f'Without figures of {name}: {rows.sum()} frames.')
      continue
    found = diagnostics.explained(
      token.params, tokens[rows], config, key, mask=mask[rows]
    )
    metrics |= {f'{name}/{key}': value for key, value in found.items()}
  fit, test = (
    _read_numbers(embedder.reader, frames)
    for frames in (stage.sample, stage.test)
  )
  if fit[1] is None or test[1] is None:
    stage.sitting.say(
      'Without probes of the remaining motion, which these demonstrations do '
      'not know.'
    )
    return metrics
  found = features.measure(
    token.params, batches([(tokens, mask)], config.batch_size), config
  )
  return metrics | probe_motion(
    ProbeFrames(trained.sample, *fit), ProbeFrames(found, *test)
  )


def _read_numbers(
  reader: FrameReader, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns joints and remaining motion (or None) of frames."""
  (found,) = reader.read(frames, len(frames), images=False)
  return found.proprio[:, : found.chunk.shape[2]], found.remaining_motion


def _open_teacher(
  vla: FrozenVla | Teacher, config: Stage1Config, mesh: Mesh | None
) -> Teacher:
  teacher = vla
  if isinstance(vla, FrozenVla):
    teacher = VlaTeacher(
      vla,
      rows=config.query_rows,
      mesh=mesh,
      language=config.inputs == 'image_language',
    )
  elif config.inputs != 'image':
    raise ValueError(
      f"inputs must be 'image' for a VLA that is not in this process, which "
      f'gives no embeddings of language: {config.inputs!r}.'
    )
  owner = teacher.vla if isinstance(teacher, VlaTeacher) else teacher
  if config.alpha > 0.0 and not isinstance(owner, TrainableVla):
    raise ValueError(
      'alpha above 0 needs a VLA with a training loss (TrainableVla): alpha '
      f'is {config.alpha}, the VLA a {type(owner).__name__}. Leave alpha at 0.'
    )
  return teacher


def _choose(
  teacher: Teacher, source: DemoSource, config: Stage1Config
) -> FramePlan:
  """Returns the frames to use and their split, after checking everything."""
  first = source.peek()
  demos_lib.check_fit(first, teacher.spec, actions=config.alpha > 0.0)
  known = teacher.vla.tasks if isinstance(teacher, VlaTeacher) else ()
  for task in source.tasks if known else ():
    known_tasks.find(known, task)  # raises where practice would
  plan = frame_plan.choose(
    source.episodes, config.episodes, HELD_OUT, config.seed, source.tasks
  )
  held_out = int(plan.lengths[plan.test].sum())
  if held_out < 2:
    raise ValueError(
      'Held-out demonstrations must have two frames or more: '
      f'{held_out} of {plan.frames}.'
    )
  return plan


def _size(embedder: FrameEmbedder, config: Stage1Config) -> TokenConfig:
  """Returns the token's settings, with the sizes of a first query."""
  tokens, _ = next(embedder.embed(np.arange(1)))
  return config.make_token(*tokens.shape[1:])


def _hold(embedder: FrameEmbedder) -> FrameEmbedder:
  """Returns the same with all frames in memory."""
  reader = embedder.reader
  plan, facts = reader.plan, reader.source.facts._asdict()
  (frames,) = reader.read(np.arange(plan.frames), plan.frames)
  frames = frames._replace(
    episode=np.repeat(
      np.arange(len(plan.lengths), dtype=np.int32), plan.lengths
    )
  )
  reader = dataclasses.replace(
    reader,
    source=MemorySource(Demos(frames=frames, **facts)),
    plan=dataclasses.replace(plan, episodes=np.arange(len(plan.episodes))),
  )
  return dataclasses.replace(embedder, reader=reader)


def _embed(
  embedder: FrameEmbedder, frames: np.ndarray, config: TokenConfig
) -> tuple[np.ndarray, np.ndarray]:
  """Returns tokens [F', N, D], of the VLA's type, and mask of frames."""
  shape = (len(frames), config.num_image_tokens, config.token_dim)
  tokens, mask, start = None, np.empty(shape[:2], bool), 0
  for part, seen in embedder.embed(frames):
    part = np.asarray(part)
    if tokens is None:
      host_memory.check_tokens(
        part.dtype.itemsize * int(np.prod(shape)), len(frames)
      )
      tokens = np.empty(shape, part.dtype)
    stop = start + len(part)
    tokens[start:stop], mask[start:stop] = part, seen
    start = stop
  return tokens, mask


def _check_blocks(
  source: DemoSource, plan: FramePlan, config: Stage1Config
) -> None:
  frames = source.peek().frames
  size = sum(x.nbytes for x in jax.tree.leaves(frames)) // len(frames.proprio)
  host_memory.check_blocks(size, min(config.buffer_frames, plan.frames))
