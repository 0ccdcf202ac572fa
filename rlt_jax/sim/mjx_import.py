"""Imports MJX, which prints two lines where MuJoCo Warp is not installed.

The lines are harmless unless Warp is asked for, so they are kept for that
error message: `WARP_NOTES`, empty where Warp is installed.
"""

import contextlib
import io

_printed = io.StringIO()
with contextlib.redirect_stdout(_printed):
  from mujoco import mjx
  from mujoco.mjx import warp as mjx_warp

WARP_NOTES = ' '.join(_printed.getvalue().split())

__all__ = ['WARP_NOTES', 'mjx', 'mjx_warp']
