"""Worlds driven by a policy: what it sees of them, and chunks of commands."""

# What may stand in for the RL token, see `token_ablations`.
TOKEN_ABLATIONS = ('none', 'zeros', 'socket_blind', 'true_pose')
