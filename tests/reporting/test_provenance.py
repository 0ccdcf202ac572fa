"""Where a figure comes from, with and without JAX."""

import subprocess
import sys

import jax

from rlt_jax.reporting import provenance

_WITHOUT_JAX = """
import sys
for name in ('jax', 'jaxlib', 'chex', 'flax', 'optax', 'mujoco', 'orbax'):
  sys.modules[name] = None  # importing it raises ImportError
import pathlib, numpy as np
import rlt_jax.reporting.metrics, rlt_jax.reporting.plots
import rlt_jax.reporting.report, rlt_jax.reporting.statistics
import rlt_jax.reporting.video
from rlt_jax.reporting import provenance, robot_report
from rlt_jax.robot.control.telemetry import blank_step, EpisodeRecord

record = EpisodeRecord(2)
step = blank_step(0.0, 0.0, 2)
record.add(step._replace(io_s=1e-3, source='vla', measured=np.zeros(2)))
row = {
  'outcome': 'success', 'steps': 100, 'late_queries': 0, 'missing_queries': 0
}
rows = [
  row | {'mode': mode, 'robot_minutes': 0.5} for mode in ('base', 'evaluation')
]
assert robot_report.write(
  sys.argv[1], rows, record, {'base': record}, learner={}, host={},
  human={}, warmup_minutes=0.5, control_hz=50.0,
  device=provenance.device(), versions=provenance.versions(),
)
print(provenance.device())
"""


def test_a_host_without_jax_writes_the_report(tmp_path):
  done = subprocess.run(
    [sys.executable, '-c', _WITHOUT_JAX, str(tmp_path)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1].startswith('CPU, ')
  assert (tmp_path / 'report.md').stat().st_size > 0


def test_the_device_is_the_one_that_jax_computes_on():
  name = provenance.device()
  first = jax.devices()[0]
  assert name.startswith(
    'CPU' if first.platform == 'cpu' else first.device_kind
  )


def test_versions_name_python_and_what_is_installed():
  found = provenance.versions()
  assert found['jax'] == jax.__version__
  assert found['python'] == sys.version.split()[0]
