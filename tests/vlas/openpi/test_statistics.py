"""openpi's normalization, there and back; other statistics are refused."""

import json

import numpy as np
import pytest

from rlt_jax.vlas.openpi import statistics
from tests.vlas.openpi import models

_FILE = models.CHECKPOINT / 'assets' / 'tiny_arm' / 'norm_stats.json'
_CASES = json.loads((models.REFERENCE / 'transforms.json').read_text())


@pytest.mark.parametrize('name', ['pi0', 'pi05'])
def test_numbers_equal_openpis_there_and_back(name):
  case = _CASES['cases'][name]
  stats = statistics.read(_FILE, 14, quantiles=case['quantiles'])
  state, actions = (
    x.by_quantiles() if case['quantiles'] else x.by_deviation() for x in stats
  )
  found = state.normalize(np.array(_CASES['state']))
  expected = np.array(case['state_normalised'])
  np.testing.assert_allclose(found, expected[:14], atol=1e-9)
  assert abs(expected).max() > 1.0  # nothing is clipped
  normalized = np.array(case['actions_normalised'])[:, :14]
  back = np.array(case['unnormalised']['actions'])[:, :14]
  np.testing.assert_allclose(actions.restore(normalized), back, atol=1e-9)
  np.testing.assert_allclose(actions.normalize(back), normalized, atol=1e-9)


def _changed(tmp_path, change):
  table = json.loads(_FILE.read_text())
  change(table['norm_stats'])
  path = tmp_path / 'norm_stats.json'
  path.write_text(json.dumps(table))
  return path


def test_padding_with_zeros_is_left_out(tmp_path):
  def pad(table):
    for moments in table.values():
      for name in moments:
        moments[name] += [0.0] * 18

  path = _changed(tmp_path, pad)
  found = statistics.read(path, 14, quantiles=True)
  expected = statistics.read(_FILE, 14, quantiles=True)
  np.testing.assert_array_equal(found.actions.q99, expected.actions.q99)
  assert found.state.mean.shape == (14,)


@pytest.mark.parametrize(
  'entries, change, sentence',
  [
    (15, lambda t: None, 'entry for each of the 15 joints .* 14 of its 14'),
    (7, lambda t: None, 'entry for each of the 7 joints .* 14 of its 14'),
    (14, lambda t: t.pop('actions'), "'state' and 'actions'"),
    (14, lambda t: t['state'].pop('std'), 'state.std .* is missing'),
    (
      14,
      lambda t: t['actions'].update(q01=None),
      'actions.q01 .* π0.5 normalizes by quantiles: .*compute_norm_stats',
    ),
    (14, lambda t: t['state'].update(mean=['a'] * 14), 'list of numbers'),
    (14, lambda t: t['state'].update(mean=0.0), 'entry for each'),
    (
      14,
      lambda t: t['state'].update(mean=[float('nan')] * 14),
      'must be finite',
    ),
    (14, lambda t: t['state'].update(std=[-1.0] * 14), 'not be negative'),
    (14, lambda t: t['actions'].update(q99=[-9.0] * 14), 'not be below q01'),
  ],
)
def test_statistics_that_do_not_fit_are_refused(
  tmp_path, entries, change, sentence
):
  path = _changed(tmp_path, change)
  with pytest.raises(ValueError, match=sentence):
    statistics.read(path, entries, quantiles=True)


def test_quantiles_may_be_missing_where_they_are_not_read(tmp_path):
  path = _changed(tmp_path, lambda t: t['state'].update(q01=None, q99=None))
  assert statistics.read(path, 14, quantiles=False).state.q01 is None


def test_missing_statistics_are_refused_with_those_that_are_there():
  assert statistics.find(models.CHECKPOINT, 'tiny_arm') == _FILE
  with pytest.raises(ValueError, match=r"trossen/norm.*\['tiny_arm'\]"):
    statistics.find(models.CHECKPOINT, 'trossen')


def test_a_file_of_another_form_is_refused(tmp_path):
  for text in ('nothing', '[]', '{"norm_stats": 3}'):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(ValueError, match="must be JSON with 'norm_stats'"):
      statistics.read(tmp_path / 'a.json', 14, quantiles=False)


def test_what_is_written_is_read_back(tmp_path):
  stats = models.random_statistics(5)
  path = tmp_path / 'assets' / 'mine' / 'norm_stats.json'
  statistics.write(path, stats)
  found = statistics.read(path, 5, quantiles=True)
  np.testing.assert_array_equal(np.array(found), np.array(stats))
  assert abs(stats.state.mean - 0.1).max() < 0.1
