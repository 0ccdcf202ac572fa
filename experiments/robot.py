"""Runs a robot: a preflight, then episodes until the practice time is over.

  python -m experiments.robot --station=stations/bench.json --workdir=runs/arm
  python -m experiments.robot --station=stations/bench.json --preflight_only
  python -m experiments.robot --station=sim --bundle=bundles/a \
      --workdir=runs/sim_arm --minutes=5

The VLA's server must run (`experiments/serve_vla.py`), and for practice the
learner (`experiments/learn_beside.py`) with --journal=WORKDIR/journal and
--workdir=WORKDIR/learner; `make robot` starts all of it with a simulated arm.
Set OMP_NUM_THREADS=1. Ctrl-C ends the run after the current control step: the
arm holds, and journal and report are written.
"""

from absl import flags

from experiments import launch
from rlt_jax.robot import lock, robot_setup, runtime
from rlt_jax.robot.arm import ArmError
from rlt_jax.robot.operator.events import DeviceError
from rlt_jax.robot.recording.journal import JournalError
from rlt_jax.robot.run_schedule import RunPlan
from rlt_jax.serving.codec import CodecError

_STATION = flags.DEFINE_string(
  'station', None, "A station's file, or 'sim'.", required=True
)
_WORKDIR = launch.define_workdir('New folder, for practice.', required=False)
_PREFLIGHT = flags.DEFINE_bool(
  'preflight_only', False, 'Run the preflight checks and exit.'
)
_MINUTES = flags.DEFINE_float('minutes', 10.0, 'Robot time of practice.')
_BASE = flags.DEFINE_integer(
  'num_base_episodes', 10, 'Of the VLA alone, before.'
)
_FINAL = flags.DEFINE_integer('num_final_episodes', 10, 'Of the mean, after.')
_WARMUP = flags.DEFINE_integer(
  'vla_warmup_steps', 6_000, 'Control steps of practice that the VLA drives.'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of exploration and starts.')
_RESUME_S = flags.DEFINE_float(
  'resume_after_s', None, 'Run again by itself so long after a fault.'
)
_WAIT_S = flags.DEFINE_float('wait_s', 30.0, "For the VLA's server.")
_REALTIME = flags.DEFINE_bool(
  'realtime', True, 'Ask the host to run the loop before other work.'
)
_BUNDLE = flags.DEFINE_string('bundle', '', 'Folder; only with --station=sim.')
_VLA = flags.DEFINE_string(
  'vla', 'ws://127.0.0.1:8000', 'Address; only with --station=sim.'
)
