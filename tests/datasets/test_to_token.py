"""A LeRobot dataset through a mapping into a π0.5 and a token of it."""

import numpy as np

from rlt_jax.datasets import mapped_source, opening
from rlt_jax.rl_token import stage1
from tests.datasets.conftest import IMAGES
from tests.vlas.openpi import models


def test_a_token_is_trained_on_a_lerobot_dataset_and_an_openpi_vla(
  table, save, lossless
):
  vla = models.make_vla(models.bench_config('pi05', control_hz=30, horizon=8))
  spec = vla.spec
  names = [joint.name for joint in vla.config.joints]
  for row, name in zip(table['joints'], names, strict=True):
    row['joint'] = name
  for row, name in zip(table['cameras'], spec.cameras, strict=True):
    row['camera'] = name
  table['instruction'] = 'insert the plug'
  source = opening.open_source(
    IMAGES, mapped_source.needs_of(spec), vla.tokenize, mapping=save(table)
  )
  read = []

  class Seen(stage1.VlaTeacher):
    def embed(self, frames):
      read.append(frames)
      return super().embed(frames)

  config = stage1.Stage1Config(
    episodes=3, steps=3, batch_size=4, cache='none', num_layers=1, num_heads=2,
    sample_frames=8, held_out_frames=4, buffer_frames=16,
  )  # fmt: skip
  result = stage1.run(Seen(vla, rows=4), source, config)
  assert (result.episodes, result.held_out, result.frames) == (3, 1, 75)
  token = result.token.spec
  assert token.vla_fingerprint == spec.fingerprint
  assert token.num_image_tokens == 3 * vla.config.model.tower.tokens
  assert all(np.isfinite(x) for x in result.metrics.values())
  # What the VLA saw is a row of the dataset, in the robot's order and units.
  frames = next(x for x in read if len(x.proprio) == 4)
  np.testing.assert_array_equal(
    frames.prompt[0], vla.tokenize(table['instruction'])
  )
  columns = [
    lossless.read_vectors(i, ['observation.state'])['observation.state']
    for i in range(3)
  ]
  place = spec.joint_names.index(names[0])
  (found,) = np.nonzero(
    np.concatenate(columns)[:, 0] == frames.proprio[0, place]
  )
  assert len(found)
  pictures = np.concatenate(
    [
      np.stack(list(lossless.read_images(i, table['cameras'][0]['key'], rows)))
      for i, rows in enumerate(map(np.arange, (20, 25, 30)))
    ]
  )
  shown = frames.images[spec.cameras[0]][0]
  assert any((pictures[i] == shown).all() for i in found)
