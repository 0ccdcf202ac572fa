"""RECAP in one workdir: marks what the VLA drove and learns with the marks."""

from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

import numpy as np

from rlt_jax import demo_files
from rlt_jax.finetuning import training
from rlt_jax.finetuning.finetune_run import FinetuneRun
from rlt_jax.finetuning.recap import marks, value
from rlt_jax.finetuning.recap.config import NEGATIVE, POSITIVE, RecapConfig
from rlt_jax.finetuning.recap.episodes import EpisodeRecorder
from rlt_jax.finetuning.recap.marks import Frames
from rlt_jax.training.folder_sitting import FolderSitting
from rlt_jax.training.setup import TaskSetup
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas.pi_small import pi_vla
from rlt_jax.vlas.pi_small.pi_vla import PiVla
from rlt_jax.vlas.task_mix import TaskMix


def marked(instruction: str, word: str) -> str:
  """Returns an instruction with the mark of good or of other frames."""
  return f'{instruction} {word}'


def with_marks(vla: PiVla, instruction: str) -> PiVla:
  """Returns the VLA that also reads a task's instruction with each mark.

  Raises:
    ValueError: its words are fixed, or its prompt is too short.
  """
  texts = tuple(marked(instruction, word) for word in (POSITIVE, NEGATIVE))
  tasks = tuple(
    dataclasses.replace(task, phrasings=(*task.phrasings, *texts))
    if instruction in (task.instruction, *task.phrasings)
    else task
    for task in vla.tasks
  )
  facts = {
    name: getattr(vla.spec, name)
    for name in ('action_mode', 'action_scale', 'joint_names', 'control_hz')
  }
  found = pi_vla.make(vla.params, vla.config, tasks=tasks, **facts)
  try:
    for text in texts:
      found.tokenize(text)
  except ValueError as error:
    raise ValueError(
      f'RECAP needs a VLA that can read the words {POSITIVE!r} and '
      f'{NEGATIVE!r} behind its instruction: {error}'
    ) from error
  return found


def mark_prompts(
  prompt: np.ndarray,
  positive: np.ndarray,
  texts: Mapping[str, np.ndarray],
  *,
  unmarked_share: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """Returns prompts [F, L] with marks; some keep the instruction alone.

  Args:
    prompt: int32 [F, L]; those that are not the task's own are left as they
      are.
    positive: bool [F].
    texts: '' -> the task's own instruction [L], and each mark -> with it.
    unmarked_share: probability that a frame has no mark.
    rng: NumPy's generator; one draw is taken.
  """
  own = (prompt == texts['']).all(axis=1)
  chosen = own & (rng.random(len(prompt)) >= unmarked_share)
  found = prompt.copy()
  found[chosen & positive] = texts[POSITIVE]
  found[chosen & ~positive] = texts[NEGATIVE]
  return found


class RecapRun(FinetuneRun):
  """A fine-tuning run whose VLA drives with the mark of good frames."""

  finetuning: RecapConfig

  def __init__(self, **arguments: Any):
    """See `FinetuneRun`; refuses a VLA that cannot read the marks."""
    super().__init__(**arguments)
    try:
      self._marked = with_marks(self.start, self._instruction)
    except ValueError:
      self.close()
      raise

  def make_recorder(self) -> EpisodeRecorder:
    """Returns what keeps whole episodes, good and bad."""
    return EpisodeRecorder(
      self.setup.task,
      worlds=self.config.num_envs,
      stride=self.finetuning.stride,
    )

  def driven_by(self, vla: PiVla) -> TaskSetup:
    """Returns the setup in which a VLA drives, told to do well once it can."""
    setup = super().driven_by(vla)
    if vla.spec.fingerprint == self.start.spec.fingerprint:
      return setup  # it has not learned the mark
    text = marked(self._instruction, POSITIVE)
    perceive = setup.perception.perceive

    def told(states: Any, key: Any, prompt: str | None = None) -> Any:
      return perceive(states, key, text if prompt is None else prompt)

    return setup._replace(perception=setup.perception._replace(perceive=told))

  def tune(
    self,
    paths: Mapping[str, pathlib.Path],
    sitting: FolderSitting,
    folder: pathlib.Path,
  ) -> training.Tuned:
    """Fits the value, marks the frames, and trains the first weights."""
    config, seed = self.finetuning, self.config.seed
    mix = training.read(paths, config.demo_share, self._marked)
    frames = self._read_frames(mix, paths[training.COLLECTED])
    rows = mix.rows[mix.names().index(training.COLLECTED)]
    limit = self.setup.task.spec.time_limit
    inputs = value.features(self.start, demos_lib.take(mix.demos.frames, rows))
    fitted = value.fit(
      inputs, marks.returns(frames, limit), frames.episode, config, seed
    )
    advantage = marks.advantages(
      frames,
      fitted.values,
      time_limit=limit,
      ahead=config.lookahead,
      stride=config.stride,
    )
    good = marks.choose_positive(frames, advantage, config.positive_share)
    tuned = training.tune(
      self._marked,
      self._with_prompts(mix, rows, good),
      config,
      seed=seed,
      sitting=sitting,
      folder=folder,
      before=mix,  # without marks
    )
    about = {
      'rank': fitted.rank,
      'positive': float(good.mean()),
      'human': float(frames.human.mean()),
      'succeeded': float(frames.succeeded.mean()),
    }
    return tuned._replace(value=about)

  @property
  def _instruction(self) -> str:
    return self.setup.task.spec.instruction

  def _read_frames(self, mix: TaskMix, folder: pathlib.Path) -> Frames:
    """Returns what is known of the collected frames, in their order."""
    columns: dict[str, list[np.ndarray]] = {x: [] for x in Frames._fields[1:]}
    for file in demo_files.find(folder).shards:
      with demo_files.open_shard(file) as shard:
        for name, found in columns.items():
          found.append(shard.read(name))
    rows = mix.rows[mix.names().index(training.COLLECTED)]
    return Frames(
      mix.demos.frames.episode[rows],
      *(np.concatenate(columns[name]) for name in Frames._fields[1:]),
    )

  def _with_prompts(
    self, mix: TaskMix, rows: np.ndarray, good: np.ndarray
  ) -> TaskMix:
    """Returns the mix with marks; all demonstrations are good."""
    demos = mix.demos
    positive = np.ones(len(demos), bool)
    positive[rows] = good
    texts = {'': self._marked.tokenize(self._instruction)} | {
      word: self._marked.tokenize(marked(self._instruction, word))
      for word in (POSITIVE, NEGATIVE)
    }
    prompt = mark_prompts(
      demos.frames.prompt,
      positive,
      texts,
      unmarked_share=self.finetuning.unmarked_share,
      rng=np.random.default_rng(self.config.seed),
    )
    frames = demos.frames._replace(prompt=prompt)
    return mix._replace(demos=dataclasses.replace(demos, frames=frames))
