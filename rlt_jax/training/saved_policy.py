"""The policy in a run's newest checkpoint, read without its simulator."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from rlt_jax import config as config_lib
from rlt_jax.agents.agent import Agent
from rlt_jax.export import checkpoint
from rlt_jax.serving.serving_spec import ServingSpec
from rlt_jax.training import config as config_module
from rlt_jax.training import run_folder
from rlt_jax.training.config import PracticeConfig


def read_config(workdir: pathlib.Path) -> PracticeConfig:
  """Returns the settings of a run that has a checkpoint.

  Raises:
    ValueError: settings of another version, or no checkpoint.
    OSError: no run in the workdir.
  """
  config = run_folder.read_config(workdir)
  run_folder.check_workdir(workdir, resume=True)
  return config


def make_meta(config: PracticeConfig, served: ServingSpec) -> dict[str, Any]:
  """Returns the meta.json of a run's checkpoints.

  Args:
    config: of the run.
    served: of its VLA and token.
  """
  return checkpoint.make_meta(
    json.loads(config_lib.to_json(config)),
    {'vla': served.vla_fingerprint, 'token': served.token_fingerprint},
  )


def expected_meta(meta: dict[str, Any]) -> dict[str, Any]:
  """Returns what a checkpoint must have of `make_meta` to be opened."""
  settings = meta['config'].items()
  return {
    'config': {k: v for k, v in settings if k not in config_module.CHANGEABLE},
    'fingerprints': meta['fingerprints'],
  }


def restore(
  workdir: pathlib.Path,
  config: PracticeConfig,
  agent: Agent,
  served: ServingSpec,
) -> checkpoint.Restored:
  """Returns the agent's policy in the newest checkpoint; writes nothing.

  Args:
    workdir: of the run.
    config: of the run.
    agent: of the run.
    served: of its VLA and token.

  Raises:
    ValueError: the checkpoint is of other settings or assets, named.
  """
  params = agent.policy_params(agent.init(jax.random.PRNGKey(0)))
  return checkpoint.restore(
    workdir,
    jax.tree.map(np.asarray, params),
    part='policy',  # of PracticeState
    expected_meta=expected_meta(make_meta(config, served)),
  )
