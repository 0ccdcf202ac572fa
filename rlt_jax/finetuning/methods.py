"""Which run a method's settings mean, and whether it can run at all."""

from typing import Any

from rlt_jax.finetuning import parts
from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.finetuning.finetune_run import FinetuneRun
from rlt_jax.finetuning.recap import run as recap_run
from rlt_jax.finetuning.recap.config import RecapConfig
from rlt_jax.training.config import PracticeConfig


def check(
  config: PracticeConfig, finetuning: FinetuneConfig, assets: str
) -> None:
  """Raises a ValueError for what a method cannot run with, by name.

  Args:
    config: of the row.
    finetuning: of its method.
    assets: folder with vla/ and token/; empty for the shipped ones.
  """
  setup, vla = parts.make_setup(config, finetuning, assets)
  if isinstance(finetuning, RecapConfig):
    recap_run.with_marks(vla, setup.task.spec.instruction)


def open_run(finetuning: FinetuneConfig, **arguments: Any) -> FinetuneRun:
  """Opens the run of a method; see `FinetuneRun` for the arguments."""
  recap = isinstance(finetuning, RecapConfig)
  make = recap_run.RecapRun if recap else FinetuneRun
  return make(finetuning=finetuning, **arguments)
