"""Exports the policy of a run, or a fresh one, as a bundle for a robot host."""

import datetime
import os
import pathlib
from typing import NamedTuple

import jax

from rlt_jax.export import bundle
from rlt_jax.reporting import provenance
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.tasks.task import numbers
from rlt_jax.training import practice_run
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig, read_config
from rlt_jax.training.setup import TaskSetup
from rlt_jax.types import Params


class Source(NamedTuple):
  """A policy and its origin.

  policy: params of the agent's policy. setup, config: of its run. workdir: of
  the run, '' for a fresh policy. env_steps: control steps of practice.
  """

  policy: Params
  setup: TaskSetup
  config: PracticeConfig
  workdir: str
  env_steps: int


def from_run(workdir: str | os.PathLike[str], assets: str = '') -> Source:
  """Returns the policy of a run's newest checkpoint.

  Args:
    workdir: of the run.
    assets: folder with vla/ and token/; empty for the shipped ones.

  Raises:
    ValueError: there is no checkpoint, or it does not fit the assets.
  """
  workdir = pathlib.Path(workdir)
  text = (workdir / 'config.json').read_text('utf-8')
  config = read_config(text)
  run = practice_run.PracticeRun(
    workdir=workdir, config=config, resume=True, assets=assets
  )
  steps = int(run.state.env_steps)
  setup = run.experiment.shared.setup
  return Source(run.state.policy, setup, config, str(workdir), steps)


def fresh(config: PracticeConfig, assets: str = '') -> Source:
  """Returns an agent's policy before its first update."""
  setup = setup_lib.make(config, assets)
  state = setup.agent.init(jax.random.PRNGKey(config.seed))
  return Source(setup.agent.policy_params(state), setup, config, '', 0)


def bundle_spec(source: Source, command: str) -> BundleSpec:
  """Returns the settings that robot host, learner and VLA server share.

  Args:
    source: of the policy.
    command: command line that writes the bundle, recorded in it.

  Raises:
    ValueError: the agent's policy cannot run on a robot host.
  """
  setup, config = source.setup, source.config
  policy = bundle.exportable(setup.agent)
  task, served = setup.task.spec, setup.embedder.spec
  return BundleSpec(
    chunk_size=config.chunk_size,
    inference_delay=config.inference_delay,
    replay_stride=config.replay_stride,
    z_dim=setup.perception.z_dim,
    hidden_dims=policy.hidden_dims,
    reference_input=policy.reference_input,
    frozen_action_dims=policy.frozen_action_dims,
    exploration_std=policy.exploration_std,
    exploration_noise=policy.exploration_noise,
    gamma=config.gamma,
    intervention_reference=config.intervention_reference,
    control_hz=task.control_hz,
    joint_names=task.joint_names,
    joint_units=task.joint_units,
    joint_low=task.joint_low,
    joint_high=task.joint_high,
    reach=task.max_reach,
    action_mode=setup.perception.space.mode,
    action_scale=numbers(setup.perception.space.scale),
    proprio_names=task.proprio_names,
    proprio_mean=served.proprio_mean,
    proprio_std=served.proprio_std,
    cameras=task.cameras,
    prompt=task.instruction,
    vla_fingerprint=served.vla_fingerprint,
    token_fingerprint=served.token_fingerprint,
    run={
      'workdir': source.workdir,
      'task': task.name,
      'env_steps': source.env_steps,
      'command': command,
      'commit': provenance.commit(),
      'created': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
      'versions': provenance.versions(),
    },
  )


def export(
  source: Source,
  folder: str | os.PathLike[str],
  *,
  command: str,
  onnx: bool = False,
) -> float:
  """Writes the bundle; returns and raises what `export.bundle.write` does.

  Args:
    source: of the policy.
    folder: new.
    command: command line that writes the bundle, recorded in it.
    onnx: write policy.onnx too.
  """
  spec = bundle_spec(source, command)
  return bundle.write(
    folder, source.setup.agent, source.policy, spec, onnx=onnx
  )
