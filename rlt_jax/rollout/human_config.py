"""Settings of a simulated person who helps in practice."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class HumanConfig:
  """Settings of a simulated person: the task's scripted operator.

  They watch all environments and decide at the start of each chunk. The default
  is nobody.
  """

  # Control steps of demonstrations at the start, all environments together:
  # every episode that begins before they are spent is driven to its end.
  demo_steps: int = 0
  # Robot minutes that the person may drive to help, all environments together,
  # demonstrations apart. 0: they do not help.
  help_minutes: float = 0.0
  stall_s: float = 2.0  # without progress until they take over
  # Progress: so much nearer to the goal than ever in the episode. A turn of a
  # radian counts as 20 mm.
  progress_mm: float = 1.0
  # They hand back once they are so much nearer than where they took over.
  hand_back_mm: float = 4.0

  def __post_init__(self):
    if self.demo_steps < 0:
      raise ValueError(f'demo_steps must not be negative: {self.demo_steps}.')
    if not self.help_minutes >= 0.0:
      raise ValueError(
        f'help_minutes must not be negative: {self.help_minutes}.'
      )
    for name in ('stall_s', 'progress_mm', 'hand_back_mm'):
      if not getattr(self, name) > 0.0:
        raise ValueError(f'{name} must be positive: {getattr(self, name)}.')

  def check_read(self) -> None:
    """Raises ValueError for a setting of help where nobody helps."""
    if self.help_minutes > 0.0:
      return
    default = HumanConfig()
    for name in ('stall_s', 'progress_mm', 'hand_back_mm'):
      if getattr(self, name) != getattr(default, name):
        raise ValueError(
          f'human.{name} needs human.help_minutes above 0, as it is read where '
          f'a person helps: {getattr(self, name)}.'
        )

  @property
  def present(self) -> bool:
    """Whether there is a person."""
    return self.demo_steps > 0 or self.help_minutes > 0.0
