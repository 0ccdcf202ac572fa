"""The examples of docs/gymnasium.md run as they stand there."""

import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_PAGE = (_ROOT / 'docs' / 'gymnasium.md').read_text('utf-8')
_SAC = 'examples/sac_true_pose.py'


def _example(name):
  return _PAGE.split(f'```python title={name}\n')[1].split('```\n')[0]


def _run(name):
  scope = {'__name__': '__main__'}
  exec(compile(_example(name), name, 'exec'), scope)
  return scope


def test_quickstart(capsys):
  scope = _run('quickstart.py')
  assert scope['terminated'] != scope['truncated']
  assert capsys.readouterr().out.startswith(scope['info']['outcome'])


def test_vector():
  scope = _run('vector.py')
  assert scope['observation']['true_pose'].shape == (8, 6)


def test_batched():
  scope = _run('batched.py')
  assert scope['observation']['true_pose'].shape == (8, 6)
  assert (scope['state'].steps == 20).all()


def test_sac_is_the_example():
  assert _example(_SAC) == (_ROOT / _SAC).read_text('utf-8')


def test_sac(monkeypatch, capsys):
  pytest.importorskip('stable_baselines3')
  arguments = ['--steps=160', '--warm_up=80', '--trials=8']
  monkeypatch.setattr('sys.argv', [_SAC, *arguments])
  scope = _run(_SAC)
  assert scope['model'].num_timesteps == 160
  assert len(scope['names']) == 8
  assert '160 steps took' in capsys.readouterr().out
