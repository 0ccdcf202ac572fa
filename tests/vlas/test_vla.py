import dataclasses
import types

import pytest

from rlt_jax.vlas import vla as vla_lib
from rlt_jax.vlas.openpi.openpi_vla import OpenpiVla

_SPEC = vla_lib.VlaSpec(
  cameras=('front', 'wrist'),
  image_size=32,
  proprio_dim=4,
  prompt_length=8,
  num_tokens=12,
  token_dim=16,
  horizon=20,
  action_dim=2,
  joint_names=('turn', 'slide'),
  control_hz=50.0,
  action_mode='offset',
  action_scale=(0.1, 0.2),
  fingerprint='abc',
)
_TASK = {
  'cameras': ('wrist', 'front', 'top'),
  'image_size': 32,
  'proprio_names': ('turn.pos', 'slide.pos', 'turn.vel', 'slide.vel'),
  'joint_names': ('turn', 'slide'),
  'control_hz': 50,
}


def _task(**changes):
  return types.SimpleNamespace(**(_TASK | changes))


def test_a_vla_that_fits_its_task_passes():
  vla_lib.check_contract(_SPEC, _task())


@pytest.mark.parametrize(
  'changes, sentence',
  [
    ({'cameras': ('front',)}, r"cameras must .*'front',.*: .*'wrist'"),
    ({'image_size': 64}, 'image_size must .* 64: 32'),
    ({'proprio_names': ('turn.pos',)}, 'proprio_dim must .* 1: 4'),
    ({'joint_names': ('turn', 'slide', 'grip')}, 'action_dim must .* 3: 2'),
    ({'joint_names': ('slide', 'turn')}, 'joint_names must '),
    ({'control_hz': 30}, r'control_hz must .* 30: 50.0'),
  ],
)
def test_a_vla_that_does_not_fit_is_refused_by_name(changes, sentence):
  with pytest.raises(ValueError, match=sentence) as caught:
    vla_lib.check_contract(_SPEC, _task(**changes))
  assert '--vla=' in str(caught.value)


def test_a_vla_of_absolute_poses_needs_the_joints_in_proprioception():
  hands = _task(proprio_has_joints=False)
  vla_lib.check_proprio(types.SimpleNamespace(reads_joints=False), hands)
  absolute = types.SimpleNamespace(reads_joints=OpenpiVla.reads_joints)
  vla_lib.check_proprio(absolute, _task(proprio_has_joints=True))
  with pytest.raises(ValueError, match="must begin .*'turn.pos'.*=joints"):
    vla_lib.check_proprio(absolute, hands)


@pytest.mark.parametrize(
  'changes, sentence',
  [
    ({'joint_names': ('turn',)}, 'joint_names must have action_dim entries, 2'),
    ({'action_scale': (0.1,)}, 'action_scale must have action_dim entries, 2'),
    ({'control_hz': 0.0}, 'control_hz must be positive: 0.0'),
  ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    dataclasses.replace(_SPEC, **changes)
