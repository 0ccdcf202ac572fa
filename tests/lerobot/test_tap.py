"""Hooks around a policy's forward pass, on fakes without PyTorch."""

import numpy as np
import pytest

from rlt_jax.lerobot import families, tap


class _Tensor:
  """What `tap` uses of a tensor."""

  def __init__(self, value):
    self.value = np.array(value)
    self.shape = self.value.shape

  def clone(self):
    return _Tensor(self.value.copy())

  def bool(self):
    return _Tensor(self.value.astype(bool))


class _Norm:
  def __init__(self, is_tuple):
    self.hooks, self.is_tuple = [], is_tuple

  def register_forward_hook(self, hook):
    self.hooks.append(hook)

    class Handle:
      remove = staticmethod(lambda: self.hooks.remove(hook))

    return Handle()

  def __call__(self, x):
    output = (x, None) if self.is_tuple else x
    for hook in self.hooks:
      hook(self, (x,), output)
    return output


class _Vlm:
  def __init__(self, is_tuple):
    self.norm = _Norm(is_tuple)

  def embed_image(self, image):
    return _Tensor(np.zeros((1, image, 2)))


class _Policy:
  """Cameras of 4 and 3 tokens, 2 of text; `passes` of the prefix a chunk."""

  def __init__(self, passes=1, is_tuple=False):
    self.vlm, self.passes = _Vlm(is_tuple), passes

  def embed_prefix(self, images):
    count = sum(self.vlm.embed_image(x).shape[1] for x in images) + 2
    return None, _Tensor(np.ones((1, count))), None

  def predict_action_chunk(self, batch, noise):
    for _ in range(self.passes):
      _, mask, _ = self.embed_prefix(batch['images'])
      tokens = _Tensor(np.full((*mask.shape, 2), 5.0))
      self.vlm.norm(tokens)
      tokens.value[:] = 0.0  # memory that is used again
    return noise


def _query(policy):
  return tap.make_query(policy, tap.Taps(policy.vlm.norm, policy, policy.vlm))


@pytest.mark.parametrize('is_tuple', [False, True])
def test_tokens_mask_and_cameras_come_out_of_one_pass(is_tuple):
  policy = _Policy(is_tuple=is_tuple)
  query = _query(policy)
  for _ in range(2):
    out = query({'images': (4, 3)}, 'noise')
    assert out.chunk == 'noise' and out.camera_tokens == (4, 3)
    np.testing.assert_array_equal(out.tokens.value, np.full((1, 9, 2), 5.0))
    assert out.mask.value.all() and out.mask.value.dtype == bool
  assert not policy.vlm.norm.hooks
  assert 'embed_prefix' not in vars(policy)
  assert 'embed_image' not in vars(policy.vlm)


@pytest.mark.parametrize('passes', [0, 2])
def test_another_number_of_passes_is_refused(passes):
  policy = _Policy(passes)
  with pytest.raises(ValueError, match=f'one pass .*: {passes} outputs'):
    _query(policy)({'images': (4, 3)}, 'noise')
  assert not policy.vlm.norm.hooks and 'embed_prefix' not in vars(policy)


def test_a_kind_without_an_adapter_is_refused():
  assert families.load('pi05') is families.open_pi
  with pytest.raises(ValueError, match="'pi05', .* have an adapter.*'act'"):
    families.load('act')
  own = families.load('act', f'{__name__}:_query')
  assert own.__name__ == '_query'
