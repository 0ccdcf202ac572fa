"""Settings of DSRL (arXiv 2506.15799; code: nakamotoo/dsrl_pi0)."""

import dataclasses

from rlt_jax.agents import networks
from rlt_jax.agents.sac.config import SacConfig

LATENTS = ('repeated', 'subspace')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DsrlConfig(SacConfig):
  """Settings of the agent; those of `SacConfig` are inherited."""

  # What the policy chooses. 'repeated', as published for pi0: one vector [A]
  # for all H steps of the noise. A VLA trained with independent noise may
  # never have seen that. 'subspace', ours: the noise's components along the K
  # slowest cosines over the H steps; the rest is drawn, so that the noise as a
  # whole stays what the VLA was trained with.
  latent: str = 'repeated'
  num_cosines: int = 4  # K of 'subspace'
  # Largest entry of the latent. Published: 1 to 2.5; 2.5 on a real arm.
  bound: float = 2.0
  hidden_dims: tuple[int, ...] = (128, 128, 128)  # as published, simulation
  actor_lr: float = 1e-4  # as published
  # Published: 1, with -1 a chunk until success. Values of a reward of 1 at
  # success are smaller by 1 - gamma**C, about 0.1.
  init_temperature: float = 0.1
  target_entropy: float = 0.0  # as published for the real arm

  def __post_init__(self):
    super().__post_init__()
    if self.latent not in LATENTS:
      raise ValueError(f'latent must be one of {LATENTS}: {self.latent!r}.')
    if not self.bound > 0.0:
      raise ValueError(f'bound must be positive: {self.bound}.')
    networks.check_counts(num_cosines=self.num_cosines)
