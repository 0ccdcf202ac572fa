"""Settings of a method that fine-tunes the VLA."""

from collections.abc import Mapping
import dataclasses

DRIVERS = ('agent', 'vla')
KEPT = ('corrections', 'successes', 'episodes')

# Task -> settings of the operator whose demonstrations the shipped VLA was last
# trained on, see docs/reproduce.md. Others have their expert's own.
OPERATORS: Mapping[str, tuple[str, ...]] = {
  'ethernet': ('aim_error_mm=1.8', 'aim_error_deg=2.0'),
  'charger': ('aim_error_mm=1.8', 'aim_error_deg=2.0'),
  'screw': ('aim_error_mm=0.7', 'aim_error_deg=3.0'),
  'zip_tie': ('aim_error_mm=1.2', 'aim_error_deg=2.0'),
}
DEMO_STEPS = 450  # after which a demonstration is given up, as there
DEMO_WORLDS = 64  # demonstrations at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
  """What the VLA is fine-tuned on, and for how long.

  Each round collects, with what the rounds before made, and then trains from
  the first weights on all that was collected so far.
  """

  # Who drives while data are collected: 'agent', in the practice that the row's
  # settings describe; or 'vla', the VLA that the round before has made.
  driver: str
  # Steps to learn from: 'corrections', those of the person who helps;
  # 'successes', episodes of the driver; or 'episodes', all with the person.
  kept: str
  rounds: int = 1
  # Episodes of the VLA's own demonstrations, made again: those that trained it
  # are not shipped. They are no robot time of the row, as the VLA of every row
  # has learned from such.
  demos: int = 256
  demo_stride: int = 12  # control steps between their frames, as in training
  demo_share: float = 0.5  # of a batch
  stride: int = 2  # control steps between the frames of what is collected
  # Fewer stretches or episodes than this are not trained on.
  least: int = 10
  # Gradient steps of the action expert in each round; the prefix stays, and
  # with it the tokens.
  steps: int = 1_500
  batch_size: int = 32
  draws: int = 2  # of noise and time, for each frame
  learning_rate: float = 2e-4  # a quarter of that of training from scratch
  warmup_steps: int = 100
  held_out: float = 0.1  # share of the episodes that are not trained on

  def __post_init__(self):
    for name, choices in (('driver', DRIVERS), ('kept', KEPT)):
      if getattr(self, name) not in choices:
        raise ValueError(
          f'{name} must be one of {choices}: {getattr(self, name)!r}.'
        )
    for name in ('rounds', 'demos', 'stride', 'demo_stride', 'steps'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} must be at least 1: {getattr(self, name)}.')
    if self.demos > DEMO_WORLDS and self.demos % DEMO_WORLDS:
      raise ValueError(
        f'demos must be a multiple of {DEMO_WORLDS}, or fewer: {self.demos}.'
      )
    if not 0.0 < self.demo_share < 1.0:
      raise ValueError(f'demo_share must lie in (0, 1): {self.demo_share}.')
    if self.least < 2:
      # One part trains, another is held out.
      raise ValueError(f'least must be at least 2: {self.least}.')
    if self.driver == 'agent' and self.rounds > 1:
      raise ValueError(
        f"rounds must be 1 with the driver 'agent', who does not learn from "
        f'the VLA: {self.rounds}.'
      )
