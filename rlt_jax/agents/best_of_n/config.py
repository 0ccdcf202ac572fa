"""Settings of Q-chunking (arXiv 2507.07969; code: ColinQiyangLi/qc)."""

import dataclasses

from rlt_jax.agents import networks
from rlt_jax.agents.agent import AgentConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestOfNConfig(AgentConfig):
  """Settings of the agent; `batch_size` is inherited."""

  # Chunks of the VLA to choose from (N). Published: 32. Each costs a pass of
  # the VLA's action expert at every row; with 1 the agent is the VLA.
  num_candidates: int = 8
  hidden_dims: tuple[int, ...] = (256, 256)  # published: four of 512
  num_critics: int = 2  # as published; their mean counts everywhere
  layer_norm: bool = True  # in the critics, as published
  critic_lr: float = 3e-4  # Adam, as published
  # Weight of the online critics in the moving average of the target critics.
  tau: float = 0.005
  # Bounds on the target: a reward of 1 at most once per episode keeps true
  # values within them. None for other rewards.
  target_clip: tuple[float, float] | None = (0.0, 1.0)
  # Updates in one call from the host; more save the overhead of calls.
  updates_per_dispatch: int = 20

  def __post_init__(self):
    super().__post_init__()
    networks.check_critics(self.hidden_dims, self.tau, self.target_clip)
    networks.check_rates(critic_lr=self.critic_lr)
    networks.check_counts(
      num_candidates=self.num_candidates,
      num_critics=self.num_critics,
      updates_per_dispatch=self.updates_per_dispatch,
    )
