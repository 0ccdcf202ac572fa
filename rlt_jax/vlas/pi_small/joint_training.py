"""What training the VLA along with the RL token needs (Eq. 2, alpha > 0)."""

import jax

from rlt_jax.types import Array, Observation, Params, PRNGKey
from rlt_jax.vlas.demos import DemoBatch
from rlt_jax.vlas.pi_small import model, objective
from rlt_jax.vlas.pi_small.config import PiConfig
from rlt_jax.vlas.vla import VlaHooks


def make_hooks(
  params: Params, config: PiConfig, num_image_tokens: int
) -> VlaHooks:
  """Returns image tokens and the VLA's own loss, on frames of demonstrations.

  Args:
    params: the starting point.
    config: of the VLA.
    num_image_tokens: the leading tokens of a row, which come from cameras.
  """
  loss_config = objective.LossConfig()

  def tokens(params: Params, batch: DemoBatch) -> Array:
    observation = Observation(batch.images, batch.proprio, batch.prompt)
    out = model.prefix(params, observation, config=config)
    return out.tokens[:, :num_image_tokens]

  def loss(params: Params, batch: DemoBatch, key: PRNGKey) -> Array:
    if batch.remaining_motion is None:
      raise ValueError(
        "This VLA's loss needs demonstrations with remaining_motion: these "
        'have none. Leave alpha at 0.'
      )
    image_key, loss_key = jax.random.split(key)
    images = objective.augment(batch.images, image_key, config=loss_config)
    return objective.loss(
      params,
      batch._replace(images=images),
      loss_key,
      config=config,
      train=loss_config,
    )[0]

  return VlaHooks(params, tokens, loss)
