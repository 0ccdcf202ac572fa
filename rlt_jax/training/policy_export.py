"""Exports the policy of a run, or a fresh one, as a bundle for a robot host."""

import datetime
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from rlt_jax.agents.agent import Agent
from rlt_jax.export import bundle
from rlt_jax.reporting import provenance
from rlt_jax.robot.policy.bundle import BundleSpec
from rlt_jax.tasks.task import numbers
from rlt_jax.training import saved_policy
from rlt_jax.training import setup as setup_lib
from rlt_jax.training.config import PracticeConfig
from rlt_jax.training.setup import PolicySetup
from rlt_jax.types import Params


class Source(NamedTuple):
  """A policy and its origin.

  policy: params of the agent's policy. setup, config: of its run. workdir: of
  the run, '' for a fresh policy. env_steps: control steps of practice.
  """

  policy: Params
  setup: PolicySetup
  config: PracticeConfig
  workdir: str
  env_steps: int


def from_run(workdir: str | os.PathLike[str], assets: str = '') -> Source:
  """Returns the policy of a run's newest checkpoint.

  Args:
    workdir: of the run.
    assets: folder with vla/ and token/; empty for the shipped ones.

  Raises:
    ValueError: there is no checkpoint, it does not fit the assets, or the run
      has learned with other features than an arm has.
    OSError: no run in the workdir.
  """
  folder = pathlib.Path(workdir)
  config = saved_policy.read_config(folder)
  _check_features(config)
  setup = setup_lib.make_policy(config, assets)
  steps, policy, _ = saved_policy.restore(
    folder, config, setup.agent, setup.served
  )
  return Source(policy, setup, config, str(workdir), steps)


def fresh(config: PracticeConfig, assets: str = '') -> Source:
  """Returns an agent's policy before its first update.

  Raises:
    ValueError: assets that do not fit, or features that an arm does not have.
  """
  _check_features(config)
  setup = setup_lib.make_policy(config, assets)
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
  task, served, agent = source.setup
  return BundleSpec(
    **policy_fields(agent, source.config),
    z_dim=served.z_dim,
    control_hz=task.control_hz,
    joint_names=task.joint_names,
    joint_units=task.joint_units,
    joint_low=task.joint_low,
    joint_high=task.joint_high,
    reach=task.max_reach,
    action_mode=served.action_mode,
    action_scale=numbers(np.float32(served.action_scale)),
    proprio_names=task.proprio_names,
    proprio_mean=served.proprio_mean,
    proprio_std=served.proprio_std,
    cameras=task.cameras,
    prompt=task.instruction,
    vla_fingerprint=served.vla_fingerprint,
    token_fingerprint=served.token_fingerprint,
    run=origin(source.workdir, task.name, source.env_steps, command),
  )


def policy_fields(agent: Agent, config: PracticeConfig) -> dict[str, Any]:
  """Returns the fields of a `BundleSpec` that agent and practice decide.

  Raises:
    ValueError: the agent's policy cannot run on a robot host, or has learned
      with another token or another reference than it would be given there.
  """
  policy = bundle.exportable(agent)
  _check_features(config)
  return {
    'chunk_size': config.chunk_size,
    'inference_delay': config.inference_delay,
    'replay_stride': config.replay_stride,
    'hidden_dims': policy.hidden_dims,
    'reference_input': policy.reference_input,
    'frozen_action_dims': policy.frozen_action_dims,
    'exploration_std': policy.exploration_std,
    'exploration_noise': policy.exploration_noise,
    'gamma': config.gamma,
    'intervention_reference': config.intervention_reference,
  }


def _check_features(config: PracticeConfig) -> None:
  for name in ('token_ablation', 'reference_fault'):
    if (value := getattr(config, name)) != 'none':
      raise ValueError(
        f'{name} must be none in a run that is exported, as the robot host '
        f"gives the policy the token and the VLA's chunk: {value!r}."
      )


def origin(
  workdir: str, task: str, env_steps: int, command: str
) -> dict[str, Any]:
  """Returns `BundleSpec.run`: where a policy comes from, made now.

  Args:
    workdir: of the run, '' for a fresh policy.
    task: name of the task, or of the station.
    env_steps: control steps of practice.
    command: command line that writes the bundle.
  """
  return {
    'workdir': workdir,
    'task': task,
    'env_steps': env_steps,
    'command': command,
    'commit': provenance.commit(),
    'created': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
    'versions': provenance.versions(),
  }


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
