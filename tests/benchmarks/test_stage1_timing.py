import jax
import pytest

from benchmarks import openpi_timing, stage1_timing, timing
from rlt_jax.rl_token.stage1_config import Stage1Config
from rlt_jax.vlas.openpi import config as config_lib
from tests.vlas import toy_vla


def test_a_contender_trains_its_steps(monkeypatch):
  vla = toy_vla.make()
  config = Stage1Config(
    steps=3, batch_size=2, episodes=2, num_layers=1, num_heads=2,
    sample_frames=4, held_out_frames=2, buffer_frames=4,
  )  # fmt: skip
  seen = []

  def count(state, batch, key, *, config):
    jax.debug.callback(seen.append, batch.data.shape[0])
    return state, key

  monkeypatch.setattr(stage1_timing.train, 'train_step', count)
  contender = stage1_timing.make_contender(vla, config, 'none')
  contender.call()
  jax.effects_barrier()
  assert [int(x) for x in seen] == [2, 2, 2]
  assert (contender.work, contender.name) == (3, 'none')
  assert timing.peak_bytes() >= 0


def test_the_random_vla_reads_the_configurations_pictures(monkeypatch):
  config = config_lib.load('pi05_aloha')
  monkeypatch.setattr(openpi_timing, 'random_params', lambda _: {})
  vla = openpi_timing.random_vla(config, tiny=True)
  assert vla.spec.token_dim == config.model.prefix.width // 16
  frames = stage1_timing.make_frames(vla, 1).frames
  assert frames.images['cam_high'].shape == (50, 224, 224, 3)
  assert (frames.prompt[0] > 0).sum() > len('insert the plug')
  with pytest.raises(ValueError, match='must fit in'):
    vla.tokenize('x' * 200)
