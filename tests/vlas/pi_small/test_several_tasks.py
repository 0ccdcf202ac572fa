"""One VLA of two tasks: training, record, and what is refused."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest

from rlt_jax import vlas
from rlt_jax.demo_files import TaskFacts
from rlt_jax.types import Observation
from rlt_jax.vlas import demos as demos_lib
from rlt_jax.vlas import known_tasks, task_mix
from rlt_jax.vlas.pi_small import (
  pi_vla,
  several_tasks,
  tokenizer,
  train,
  vla_folder,
)
from rlt_jax.vlas.pi_small.objective import LossConfig
from tests.vlas import shards, sittings
from tests.vlas.untrained import random_vla

_FACTS = {
  'plug': TaskFacts(
    'plug', 'insert', ('push in',), ('lift it',), ('a', 'b', 'c', 'd')
  ),
  'screw': TaskFacts(
    'screw', 'drive home', ('now drive it, home',), (), ('u', 'v', 'w')
  ),
}


def _write(path, demos, name, **changes):
  """Writes demonstrations of a task; the second has units of twice the size."""
  rng = np.random.default_rng(len(name))
  rows, facts = np.arange(120), _FACTS[name]
  texts = np.where(rows % 2, facts.instruction, 'push in')
  if name == 'screw':
    rows, texts = rows + 120, np.full(120, facts.instruction)
  changes = {
    'joints': rng.normal(size=(120, 4)).astype(np.float32),
    'proprio': rng.normal(3.0, size=(120, len(facts.proprio_names))).astype(
      np.float32
    ),
    'instruction': texts,
    'task': np.array(facts.to_json()),
    'action_scale': np.array([0.1, 0.2]) * (2.0 if name == 'screw' else 1.0),
  } | changes
  path.mkdir(parents=True, exist_ok=True)
  shards.write(path / '0.npz', demos, rows, **changes)


@pytest.fixture
def paths(monkeypatch, config, demos, tmp_path):
  """Folders of demonstrations of two tasks; small sizes for `run`."""
  small = dataclasses.asdict(config) | {'vocabulary': tokenizer.VOCABULARY}
  real = vla_folder.PiConfig
  monkeypatch.setattr(
    vla_folder, 'PiConfig', lambda **sizes: real(**(small | sizes))
  )
  monkeypatch.chdir(tmp_path)
  for name in _FACTS:
    _write(tmp_path / name, demos, name)
  return [str(tmp_path / name) for name in _FACTS]


def _folder(path, **changes):
  fields = {
    'folder': path,
    'start': '',
    'train': train.TrainConfig(steps=2, batch_size=8, log_every=1),
    'loss': LossConfig(draws=1),
    'command': ['python', 'x'],
  }
  return vla_folder.VlaFolder(**(fields | changes))


def _spec(task, **changes):
  facts = _FACTS[task]._asdict() | changes
  return types.SimpleNamespace(**facts)


def test_a_vla_of_two_tasks_knows_both(paths, tmp_path):
  _folder(tmp_path / 'vla', share=(3.0, 1.0)).run(paths)
  vla = vlas.load(f'pi_small:{tmp_path / "vla"}')
  assert [task.name for task in vla.tasks] == ['plug', 'screw']
  assert vla.config.words == ('drive', 'home', 'in', 'insert', 'it', 'lift',
                              'now', 'push')  # fmt: skip
  # Marks beside a word are left out, and the prompt holds the longest text.
  assert vla.tokenize('now drive it, home').tolist() == [7, 1, 5, 2]
  # The state is the joints, which both have; the numbers measured differ.
  assert vla.spec.state == 'joints' and vla.spec.proprio_dim == 4
  for name, factor in (('plug', 1.0), ('screw', 2.0)):
    view = vla.for_task(_spec(name))
    assert view.spec.proprio_dim == len(_FACTS[name].proprio_names)
    assert view.spec.fingerprint == vla.spec.fingerprint
    np.testing.assert_allclose(view.proprio_stats().mean, 3.0, atol=0.5)
    np.testing.assert_allclose(
      view.spec.action_scale, np.array([0.1, 0.2]) * factor, rtol=1e-6
    )
    # The same motion, in rad and m, whatever the unit.
    key, rows = jax.random.key(0), 2
    side = vla.config.image_size
    observation = Observation(
      {c: np.zeros((rows, side, side, 3), np.uint8) for c in vla.spec.cameras},
      np.ones((rows, 4), np.float32),
      np.tile(view.tokenize(_FACTS[name].instruction), (rows, 1)),
    )
    own = vla.apply(vla.params, observation, key).reference
    seen = view.apply(view.params, observation, key).reference
    np.testing.assert_allclose(
      own * np.float32(vla.spec.action_scale),
      seen * np.float32(view.spec.action_scale),
      rtol=1e-5,
    )
  card = (tmp_path / 'vla' / 'MODEL_CARD.md').read_text()
  assert 'Task `plug`: 120 frames of 12 demonstrations' in card
  assert 'with probability 0.75' in card
  metrics = json.loads((tmp_path / 'vla' / 'vla.json').read_text())['metrics']
  assert {'plug/flow_loss', 'screw/flow_loss', 'screw/still_4_rms'} <= {
    *metrics
  }


def test_what_the_weights_do_not_know_is_refused_by_name(paths, tmp_path):
  _folder(tmp_path / 'vla').run(paths)
  vla = pi_vla.load(tmp_path / 'vla')
  unknown = _spec('plug', name='tie', instruction='tie it')
  with pytest.raises(
    ValueError, match="'tie it' of tie: it knows plug .'insert'., screw"
  ):
    vla.for_task(unknown)
  with pytest.raises(ValueError, match="'glue' in 'glue it'"):
    vla.tokenize('glue it')
  with pytest.raises(ValueError, match=r"knows those of \['pos"):
    # It knows the joints with their rates, and what the demonstrations measure.
    _only_joints = dataclasses.replace(
      vla,
      tasks=tuple(
        dataclasses.replace(
          task, proprio=(known_tasks.Measured(('pos', 'vel'), (0.0,), (1.0,)),)
        )
        for task in vla.tasks
      ),
    )
    _only_joints.for_task(_spec('screw'))
  # In other words, or with the joints measured, it is the same task.
  vla.for_task(_spec('plug', instruction='push in'))
  joints = tuple(f'{x}.{y}' for y in ('pos', 'vel') for x in ('turn', 'slide'))
  assert vla.for_task(_spec('plug', proprio_names=joints)).spec.proprio_dim == 4


def test_a_killed_training_of_two_tasks_ends_as_an_unbroken_one(
  paths, tmp_path
):
  config = train.TrainConfig(
    steps=4, batch_size=8, log_every=1, save_every_s=1e-9
  )
  _folder(tmp_path / 'whole', train=config, rest_share=0.5).run(paths)
  folder = tmp_path / 'killed'
  with pytest.raises(sittings.StoppedError):
    _folder(folder, train=config, rest_share=0.5).run(
      paths, sittings.Sitting(folder, resume=False, last_step=3, kept=(0, 2))
    )
  sitting = sittings.Sitting(folder, resume=True)
  _folder(folder, train=config, rest_share=0.5).run(paths, sitting)
  assert sitting.first_step == 2
  for name in ('vla.safetensors',):
    assert (folder / name).read_bytes() == (
      tmp_path / 'whole' / name
    ).read_bytes()
  other = dataclasses.replace(config, steps=5)
  with pytest.raises(sittings.StoppedError):
    _folder(tmp_path / 'b', train=other).run(
      paths, sittings.Sitting(tmp_path / 'b', resume=False, last_step=1)
    )
  for changes, name in (
    ({'share': (1.0, 2.0)}, 'share'),
    ({'rest_share': 0.5}, 'rest_share'),
  ):
    with pytest.raises(ValueError, match=rf'settings\.{name}'):
      _folder(tmp_path / 'b', train=other, **changes).run(
        paths, sittings.Sitting(tmp_path / 'b', resume=True)
      )


def _hashing_start(folder, config, demos, names):
  """Writes weights of one task that hash words and read velocities too."""
  kind = known_tasks.Measured(names, (0.0,) * 4, (1.0,) * 4)
  vla = random_vla(
    jax.random.key(1),
    dataclasses.replace(config, vocabulary=tokenizer.VOCABULARY),
    tasks=known_tasks.of_facts([_FACTS['plug']], proprio=(kind,)),
    **demos.action_facts(),
  )
  vla.save(folder, metrics={}, command=[], seed=0)
  return vla


def test_words_and_positions_of_the_start_are_kept(
  paths, config, demos, tmp_path
):
  hands = ('x', 'y', 'x.vel', 'y.vel')
  _hashing_start(tmp_path / 'hands', config, demos, hands)
  with pytest.raises(
    ValueError, match='positions and rates of .*: those of plug'
  ):
    _folder(tmp_path / 'new', start=str(tmp_path / 'hands')).run(paths)
  joints = ('turn.pos', 'slide.pos', 'turn.vel', 'slide.vel')
  old = _hashing_start(tmp_path / 'old', config, demos, joints)
  indexes = task_mix.read_indexes(paths, old.config.cameras)
  config = several_tasks.make_config(old.config, indexes)
  found = several_tasks.adapt(jax.random.key(0), old, config, 'all')
  before, after = (
    x['prefix']['Embed_0']['embedding'] for x in (old.params, found)
  )
  for word in ('lift', 'drive'):
    np.testing.assert_array_equal(
      after[config.tokenize(word)[0]], before[old.config.tokenize(word)[0]]
    )
  places = found['prefix']['position']
  assert len(places) == 6  # a patch of each camera, four words
  np.testing.assert_array_equal(places[:5], old.params['prefix']['position'])
  np.testing.assert_array_equal(
    found['expert']['state_in']['kernel'],
    old.params['expert']['state_in']['kernel'],
  )
  _folder(tmp_path / 'new', start=str(tmp_path / 'old')).run(paths)
  # Once words are known, new ones are added, and those of old keep their row.
  new = pi_vla.load(tmp_path / 'new')
  config = dataclasses.replace(
    config, words=(*new.config.words, 'gently'), vocabulary=10
  )
  found = several_tasks.adapt(jax.random.key(0), new, config, 'all')
  table = found['prefix']['Embed_0']['embedding']
  np.testing.assert_array_equal(
    table[:9], new.params['prefix']['Embed_0']['embedding']
  )
  assert table.shape == (10, 16) and table[9].std() > 0.1
  with pytest.raises(ValueError, match="part is 'expert': gently"):
    several_tasks.adapt(jax.random.key(0), new, config, 'expert')


@pytest.mark.parametrize(
  'changes, rule',
  [
    ({'control_hz': np.array(20.0)}, 'must have one control_hz: 10.0'),
    ({'joint_names': np.array(['slide', 'turn'])}, 'must have one joint_names'),
    (
      {'chunk': np.zeros((120, 9, 2), np.float32)},
      r'one shape of chunk: \(4, 2\)',
    ),
    ({'task': np.array(_FACTS['plug'].to_json())}, 'Each task must have one'),
    ({'task': np.array('{}')}, 'must be the JSON that make_demos writes'),
  ],
)
def test_tasks_that_do_not_fit_together_are_refused(
  paths, demos, tmp_path, changes, rule
):
  _write(tmp_path / 'screw', demos, 'screw', **changes)
  with pytest.raises(ValueError, match=rule):
    _folder(tmp_path / 'vla').run(paths)
  assert not (tmp_path / 'vla').exists()


def test_a_share_is_for_several_tasks(paths, tmp_path):
  with pytest.raises(ValueError, match='positive number for each of the 2'):
    _folder(tmp_path / 'vla', share=(1.0, 0.0)).run(paths)
  with pytest.raises(ValueError, match='share must be empty'):
    _folder(tmp_path / 'vla', share=(1.0,)).run(paths[:1])


def test_batches_draw_each_task_by_its_share():
  rows = (np.arange(10), np.arange(10, 1000))
  mix = task_mix.TaskMix(None, rows, (0.75, 0.25), ())
  drawn = mix.draw(rows, 4000, np.random.default_rng(0))
  assert abs((drawn < 10).mean() - 0.75) < 0.03
  assert set(drawn[drawn < 10]) == set(range(10)) and drawn.max() > 950


def test_a_frame_told_another_task_is_at_rest(demos):
  frames = demos_lib.take(demos.frames, np.arange(6))
  task = np.array([0, 0, 1, 1, 2, 2])
  prompts = [np.full((2, frames.prompt.shape[1]), 10 * i) for i in range(3)]
  prompts[1][1] += 1  # a second phrasing
  told = []
  for seed in range(40):
    rng = np.random.default_rng(seed)
    shown = task_mix.rest(frames, task, prompts, 0.5, rng)
    still = (shown.chunk == 0.0).all((1, 2))
    told += list(zip(task[still], shown.prompt[still, 0], strict=True))
    assert shown.chunk_valid[still].all()
    for name in ('prompt', 'chunk', 'chunk_valid'):
      kept, own = getattr(shown, name), getattr(frames, name)
      np.testing.assert_array_equal(kept[~still], own[~still])
    assert shown.remaining_motion is frames.remaining_motion
  assert (frames.chunk != 0.0).any((1, 2)).all()
  assert 0.35 < len(told) / 240 < 0.65
  # Every instruction of every other task, and none of its own.
  assert set(told) == {(0, 10), (0, 11), (0, 20), (1, 0), (1, 20), (2, 0),
                       (2, 10), (2, 11)}  # fmt: skip


def test_a_vla_learns_to_rest_when_told_another_task(paths, tmp_path):
  fit = train.TrainConfig(
    steps=250, batch_size=16, log_every=50, warmup_steps=5, ema_rate=0.9
  )
  folder = tmp_path / 'vla'
  _folder(folder, train=fit, rest_share=0.8).run(paths)
  found = json.loads((folder / 'vla.json').read_text())['metrics']
  for name in _FACTS:
    # Untrained chunks move further than the demonstrations do.
    assert found[f'{name}/rest_4_rms'] < 0.6 * found[f'{name}/still_4_rms']
  card = (folder / 'MODEL_CARD.md').read_text()
  assert 'with probability 0.8 with the\n  instruction' in card


def test_a_share_at_rest_needs_another_task(paths, tmp_path):
  with pytest.raises(ValueError, match='rest_share must be 0 where there is'):
    _folder(tmp_path / 'vla', rest_share=0.1).run(paths[:1])
  with pytest.raises(ValueError, match=r'rest_share must be in \[0, 1\): 1.0'):
    _folder(tmp_path / 'vla', rest_share=1.0).run(paths)
