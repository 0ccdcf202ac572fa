"""Rollouts: the policy's features of worlds, and execution of its chunks."""

# Replacements of the RL token, see `token_ablations`.
TOKEN_ABLATIONS = (
  'none', 'zeros', 'socket_blind', 'true_pose', 'mean_tokens', 'resnet10_sim',
)  # fmt: skip
# Faults of the VLA's chunks, see `reference_faults`.
REFERENCE_FAULTS = ('none', 'bias', 'halved', 'noise')
