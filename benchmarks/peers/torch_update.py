"""The same update in PyTorch: plain, optimized, and as in RLinf.

'plain' has one module per network and the default optimizer. 'stacked'
computes all critics in one batched product per layer and uses the fused
optimizer. Either can be compiled. 'rlinf' runs the losses as RLinf's RLT worker
does (`RlinfUpdate`).
"""

from collections.abc import Mapping
import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.inputs import layers_of, Shared
from rlt_jax.types import Transition

FORMS = ('plain', 'stacked', 'rlinf')


class Mlp(nn.Module):
  """ReLU layers, with LayerNorm without scale if set, and a linear output."""

  def __init__(self, layers, layer_norm: bool):
    """Copies layers [(kernel [in, out], bias [out]), ...]."""
    super().__init__()
    self.layers = nn.ModuleList()
    self.layer_norm = layer_norm
    for kernel, bias in layers:
      layer = nn.Linear(*kernel.shape)
      layer.weight.data = torch.from_numpy(np.array(kernel).T.copy())
      layer.bias.data = torch.from_numpy(np.array(bias))
      self.layers.append(layer)

  def forward(self, x):
    """Maps [B, in] to [B, out]."""
    for layer in self.layers[:-1]:
      x = layer(x)
      if self.layer_norm:
        x = functional.layer_norm(x, x.shape[-1:], eps=1e-6)
      x = functional.relu(x)
    return self.layers[-1](x)


class Critics(nn.Module):
  """Q separate networks."""

  def __init__(self, critics, layer_norm: bool):
    """Takes layers of each critic."""
    super().__init__()
    self.nets = nn.ModuleList(Mlp(layers, layer_norm) for layers in critics)

  def forward(self, x):
    """Maps [B, in] to values [B, Q]."""
    return torch.cat([net(x) for net in self.nets], dim=-1)


class StackedCritics(nn.Module):
  """Q networks as batched products."""

  def __init__(self, critics, layer_norm: bool):
    """Takes layers of each critic."""
    super().__init__()
    self.layer_norm = layer_norm
    self.kernels, self.biases = nn.ParameterList(), nn.ParameterList()
    for parts in zip(*critics, strict=True):
      kernel = np.stack([np.array(k) for k, _ in parts])
      bias = np.stack([np.array(b) for _, b in parts])
      self.kernels.append(nn.Parameter(torch.from_numpy(kernel)))
      self.biases.append(nn.Parameter(torch.from_numpy(bias[:, None])))

  def forward(self, x):
    """Maps [B, in] to values [B, Q]."""
    x = x.expand(self.kernels[0].shape[0], *x.shape)
    last = len(self.kernels) - 1
    for i, (kernel, bias) in enumerate(
      zip(self.kernels, self.biases, strict=True)
    ):
      x = torch.baddbmm(bias, x, kernel)
      if i < last:
        if self.layer_norm:
          x = functional.layer_norm(x, x.shape[-1:], eps=1e-6)
        x = functional.relu(x)
    return x.squeeze(-1).T


def tensors(rows: Transition) -> dict[str, torch.Tensor]:
  """Copies replay rows; forms in one process share the copy."""
  return {k: torch.from_numpy(np.array(v)) for k, v in rows._asdict().items()}


class TorchUpdate:
  """Holds networks, optimizers and replay; `cycle` runs a 2:1 cycle."""

  def __init__(
    self,
    shared: Shared,
    rows: Mapping[str, torch.Tensor],
    *,
    form: str,
    compiled: bool,
  ):
    """Copies the parameters that every contender starts from."""
    if form not in FORMS:
      raise ValueError(f'form must be one of {FORMS}: {form!r}.')
    kind = StackedCritics if form == 'stacked' else Critics
    config = shared.config
    state = shared.start()
    critics = sorted(state.critic_params['params'].items())
    self.config = config
    self.actor = Mlp(layers_of(state.actor_params['params']['_Mlp_0']), False)
    self.critics = kind([layers_of(x) for _, x in critics], config.layer_norm)
    self.targets = copy.deepcopy(self.critics).requires_grad_(False)
    fused = {'fused': True} if form == 'stacked' else {}
    self.actor_opt = torch.optim.Adam(
      self.actor.parameters(), config.actor_lr, **fused
    )
    self.critic_opt = torch.optim.Adam(
      self.critics.parameters(), config.critic_lr, **fused
    )
    self.rows = dict(rows)
    self.size = len(rows['reward'])
    self.noise_shape = rows['ref_chunk'].shape[1:]
    self.critic_loss, self.actor_loss = self._critic_loss, self._actor_loss
    if compiled:
      self.critic_loss = torch.compile(self._critic_loss)
      self.actor_loss = torch.compile(self._actor_loss)

  def noise(self):
    """Draws held exploration noise [B, C * A]."""
    chunk, action = self.noise_shape
    draw = (
      torch.randn(self.config.batch_size, 1, action)
      * self.config.exploration_std
    )
    return draw.expand(-1, chunk, -1).flatten(1)

  def draw(self):
    """Draws one batch of rows."""
    index = torch.randint(self.size, (self.config.batch_size,))
    return {name: x[index] for name, x in self.rows.items()}

  def _critic_loss(self, batch, noise):
    with torch.no_grad():
      state = torch.cat([batch['next_z_rl'], batch['next_proprio']], -1)
      reference = batch['next_ref_chunk'].flatten(1)
      chunk = self.actor(torch.cat([state, reference], -1)) + noise
      q = self.targets(torch.cat([state, chunk], -1)).amin(-1)
      target = batch['reward'] + batch['discount'] * q
      if self.config.target_clip is not None:
        target = target.clamp(*self.config.target_clip)
    x = [batch['z_rl'], batch['proprio'], batch['action_chunk'].flatten(1)]
    error = target[:, None] - self.critics(torch.cat(x, -1))
    return error.square().sum(-1).mean()

  def _actor_loss(self, batch, noise, shown):
    state = torch.cat([batch['z_rl'], batch['proprio']], -1)
    reference = batch['ref_chunk'].flatten(1)
    chunk = self.actor(torch.cat([state, reference * shown], -1)) + noise
    q = self.critics(torch.cat([state, chunk], -1)).mean(-1)
    distance = (chunk - reference).square().sum(-1)
    return (self.config.beta * distance - q).mean()

  def critic_step(self, batch, noise) -> torch.Tensor:
    """Runs one critic step and moves the targets."""
    loss = self.critic_loss(batch, noise)
    self.critic_opt.zero_grad(set_to_none=True)
    loss.backward()
    self.critic_opt.step()
    with torch.no_grad():
      torch._foreach_lerp_(
        list(self.targets.parameters()),
        list(self.critics.parameters()),
        self.config.tau,
      )
    return loss

  def actor_step(self, batch, noise, shown) -> torch.Tensor:
    """Runs one actor step."""
    # The actor step needs no gradient of the critics' parameters.
    self.critics.requires_grad_(False)
    loss = self.actor_loss(batch, noise, shown)
    self.actor_opt.zero_grad(set_to_none=True)
    loss.backward()
    self.actor_opt.step()
    self.critics.requires_grad_(True)
    return loss

  def cycle(self):
    """Runs two critic steps and an actor step on fresh batches."""
    for _ in range(self.config.critic_updates_per_actor):
      batch = self.draw()
      critic_loss = self.critic_step(batch, self.noise())
    keep = 1.0 - self.config.reference_dropout
    shown = (torch.rand(self.config.batch_size, 1) < keep).float()
    actor_loss = self.actor_step(batch, self.noise(), shown)
    return critic_loss.item(), actor_loss.item()


class RlinfUpdate(TorchUpdate):
  """The update as RLinf's `fsdp_rlt_ac_policy_worker` does it, August 2026.

  One module holds actor and critics, so either loss's backward pass reaches
  both, and one norm over all gradients clips them; the target is a copy of the
  whole module, moved parameter by parameter. Its log-probabilities, metrics
  and data loader are left out, which is in its favor.
  """

  def __init__(self, shared, rows, *, form: str, compiled: bool):
    """Adds the copy of the actor in the target module."""
    super().__init__(shared, rows, form=form, compiled=compiled)
    self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
    self.online = [*self.actor.parameters(), *self.critics.parameters()]
    self.moved = [*self.target_actor.parameters(), *self.targets.parameters()]

  def _step(self, loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    # No bound, so that the result is that of the other forms.
    torch.nn.utils.clip_grad_norm_(self.online, float('inf'))
    optimizer.step()
    loss.item()
    return loss

  def critic_step(self, batch, noise) -> torch.Tensor:
    """Runs one critic step and moves the targets."""
    loss = self._step(self.critic_loss(batch, noise), self.critic_opt)
    with torch.no_grad():
      for online, target in zip(self.online, self.moved, strict=True):
        target.mul_(1.0 - self.config.tau)
        target.add_(online * self.config.tau)
    return loss

  def actor_step(self, batch, noise, shown) -> torch.Tensor:
    """Runs one actor step; the critics' gradient is computed and not used."""
    return self._step(self.actor_loss(batch, noise, shown), self.actor_opt)


def make(
  shared: Shared,
  rows: Mapping[str, torch.Tensor],
  form: str,
  compiled: bool = False,
) -> TorchUpdate:
  """Returns the peer of one of FORMS."""
  kind = RlinfUpdate if form == 'rlinf' else TorchUpdate
  return kind(shared, rows, form=form, compiled=compiled)
