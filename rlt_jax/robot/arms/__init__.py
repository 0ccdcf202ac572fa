"""Drivers: each is an `Arm` (see `rlt_jax.robot.arm`) for one make."""
