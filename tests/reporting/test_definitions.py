"""Every number of a report has a unit and a meaning."""

import json
import pathlib

import pytest

from rlt_jax.reporting import definitions, report, statistics
import rlt_jax.rl_token

_SOME = statistics.make_episodes([1, 0, 1], [10, 20, 30])


def test_the_figures_of_episodes_are_explained():
  found = statistics.summarize(_SOME, 50.0, ('time_out', 'success'))
  assert found.keys() == definitions.EPISODES.keys()


def test_the_figures_of_the_shipped_token_are_explained():
  folder = pathlib.Path(rlt_jax.rl_token.__file__).parent / 'assets/ethernet'
  metrics = json.loads((folder / 'token.json').read_text())['metrics']
  assert metrics.keys() == definitions.TOKEN.keys()


def test_a_report_explains_its_numbers_once(tmp_path):
  data = report.ReportData(
    base=_SOME,
    final=_SOME,
    robot_minutes=1.0,
    control_hz=50.0,
    along=(report.Evaluation(1.0, _SOME, _SOME),),
    beta={'final': {'ratio': 0.1, 'my_own': 3}},
    config={'seed': 0},
  )
  report.write_report(tmp_path, data)
  plain = json.loads((tmp_path / 'report.json').read_text())
  names = list(definitions.names(plain))
  assert len(names) == len(set(names))
  assert {'success', 'robot_minutes', 'beta.final.ratio'} <= set(names)
  # Only the number of an agent that is not shipped has no definition.
  assert set(names) - definitions.DEFINITIONS.keys() == {'beta.final.my_own'}
  text = (tmp_path / 'report.md').read_text()
  assert text.count('| success_low | lower end of its 95 %') == 1
  assert 'my_own |' not in text.split('## What the numbers')[1]


@pytest.mark.parametrize('text', definitions.DEFINITIONS.values())
def test_a_definition_is_one_line(text):
  assert text.strip() == text and '\n' not in text and len(text) > 10
