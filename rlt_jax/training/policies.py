"""Policies to evaluate: the frozen VLA alone, or the agent of a run."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import NamedTuple

from rlt_jax.evaluation import corrections, physics_study, policy_demos
from rlt_jax.evaluation import evaluator as evaluator_lib
from rlt_jax.evaluation.physics_study import Variant
from rlt_jax.reporting.statistics import Episodes
from rlt_jax.signals import StopRequest
from rlt_jax.sitting import spell
from rlt_jax.tasks.task import Bench, TaskSpec
from rlt_jax.training import assets as assets_lib
from rlt_jax.training import saved_policy
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig


class Evaluation(NamedTuple):
  """An evaluator and the policies to run on it, by name.

  setup: task, VLA and token. config: of the run, or of the VLA alone. about:
  what is evaluated, in a sentence.
  """

  evaluator: evaluator_lib.Evaluator
  policies: Mapping[str, evaluator_lib.Policy]
  setup: setup_lib.TaskSetup
  config: PracticeConfig
  about: str

  @property
  def spec(self) -> TaskSpec:
    """That of the task."""
    return self.setup.task.spec

  def with_seed(self, seed: int) -> evaluator_lib.Evaluator:
    """Returns an evaluator with the start states of another seed."""
    return setup_lib.make_evaluator(self.setup, self.config, seed)

  def demonstrator(
    self, *, worlds: int, steps: int | None, stall_s: float | None
  ) -> tuple[policy_demos.RollOut, str]:
    """Returns what records the first policy's episodes, and what it is.

    Args:
      worlds: E, episodes at a time.
      steps: control steps after which an episode is given up; None is the
        task's limit.
      stall_s: without progress until a simulated person takes over, whose part
        alone is recorded; None for nobody.

    Raises:
      ValueError: both `steps` and a person, or what a person cannot correct.
    """
    policy = next(iter(self.policies.values()))
    if stall_s is None:
      return policy_demos.make_roll_out(
        self.with_seed, policy, worlds=worlds, steps=steps
      ), self.about
    if steps is not None:
      raise ValueError(
        f'steps must be unset with stall_s: the person needs time: {steps}.'
      )
    if self.config.inference_delay:
      raise ValueError(
        'inference_delay must be 0 with stall_s: '
        f'{self.config.inference_delay}.'
      )
    setup = self.setup
    return corrections.make_roll_out(
      setup.task,
      setup.rollout_fns,
      setup.perception,
      policy,
      human=dataclasses.replace(self.config.human, stall_s=stall_s),
      chunk_size=self.config.chunk_size,
      worlds=worlds,
    ), f'{self.about} After {stall_s:g} s a simulated person takes over.'

  def trials(self, instructions: Sequence[str]) -> list[tuple[str, str, str]]:
    """Returns (label, policy, instruction) of what is to be run.

    Each policy hears the task's own instruction, and then others in its place.

    Args:
      instructions: the others.

    Raises:
      ValueError: one that the VLA cannot read.
    """
    for text in instructions:
      self.setup.embedder.check_instruction(text)
    own = self.spec.instruction
    return [(name, name, own) for name in self.policies] + [
      (f'{name}, {text!r}', name, text)
      for text in instructions
      for name in self.policies
    ]

  def run(
    self, name: str, episodes: int, instruction: str | None = None
  ) -> Episodes:
    """Evaluates one of the policies.

    Args:
      name: of the policy.
      episodes: how many start states.
      instruction: to the VLA; None is the task's own.

    Raises:
      KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP came; the evaluation is given
        up at once.
    """
    with StopRequest('at once; this evaluation is given up') as stop:
      policy = self.policies[name]
      run = self.evaluator.run
      return stop.call(run, policy, episodes, prompt=instruction)[0]


def describe_cost(episodes: int) -> str:
  """Returns a line that says about how long evaluations will take."""
  return (
    f'Evaluating in {episodes:,} episodes each: about {spell(0.3 * episodes)} '
    'a policy on two cores, and a minute of compiling where nothing is cached.'
  )


def of_base(
  config: PracticeConfig, horizons: Sequence[int], assets: str, seed: int
) -> Evaluation:
  """Returns the frozen VLA as a policy for each of its open-loop horizons.

  It needs no token.

  Args:
    config: of the task and the VLA.
    horizons: control steps of a chunk that run before the next query.
    assets: folder with vla/ and token/; empty for the shipped ones.
    seed: of the start states.

  Raises:
    ValueError: a horizon that does not fit the chunks or the VLA.
  """
  alone = dataclasses.replace(config, token_ablation='zeros')
  setup = setup_lib.make(alone, assets)
  for horizon in horizons:
    assets_lib.check_fit(
      setup.embedder.spec,
      dataclasses.replace(config, open_loop_steps=horizon),
      setup.task.spec,
    )
  return Evaluation(
    setup_lib.make_evaluator(setup, config, seed),
    {f'base, {h} steps': evaluator_lib.base_policy(h) for h in horizons},
    setup,
    config,
    f'The VLA {config.vla} alone.',
  )


def of_run(workdir: pathlib.Path, assets: str, seed: int) -> Evaluation:
  """Returns the agent of a run's newest checkpoint, without and with noise.

  The run may be finished or still be practicing; nothing is written.

  Args:
    workdir: of the run.
    assets: as the run had it.
    seed: of the start states.

  Raises:
    ValueError: no checkpoint, or one of other assets or of another version.
    OSError: no run in the workdir.
  """
  config = saved_policy.read_config(workdir)
  setup = setup_lib.make(config, assets)
  steps, params, _ = saved_policy.restore(
    workdir, config, setup.agent, setup.embedder.spec
  )
  return Evaluation(
    setup_lib.make_evaluator(setup, config, seed),
    {
      name: evaluator_lib.agent_policy(
        setup.agent, params, chunk_size=config.chunk_size, explore=explore
      )
      for name, explore in (('mean', False), ('exploring', True))
    },
    setup,
    config,
    f'The agent of {workdir} after {config.minutes(steps):.4g} robot minutes, '
    f'{steps} control steps.',
  )


def in_physics(
  config: PracticeConfig,
  assets: str,
  seed: int,
  world: Variant,
  engine: Variant,
) -> tuple[evaluator_lib.Evaluator, Bench | None]:
  """Returns an evaluator in a world of `physics_study`, and its bench.

  Args:
    config: of the run, or of the VLA alone.
    assets: as the run had them.
    seed: of the start states.
    world, engine: what differs from the config.

  Raises:
    ValueError: a change that does not fit, or C MuJoCo for a task without it.
  """
  config = physics_study.changed(config, world, engine)
  setup = setup_lib.make(config, assets)
  rollout_fns = physics_study.rollout_of(engine, setup.task, setup.rollout_fns)
  make_bench = setup.task.make_bench
  return (
    setup_lib.make_evaluator(
      setup._replace(rollout_fns=rollout_fns), config, seed
    ),
    make_bench() if make_bench else None,
  )
