"""Output whose reader is gone."""

import os
import pathlib
import subprocess
import sys

import pytest

from rlt_jax import console

_ROOT = pathlib.Path(__file__).parents[1]
_PRINT = """
import sys
from rlt_jax import console
console.outlive()
for _ in range(3):
  print('x' * 100_000, flush=True)
print('x')
file = open(sys.argv[1], 'w')
print('end', file=file)
"""


@pytest.mark.parametrize(
  'ending', ['| head -c 1 > /dev/null', '>&-', '>&- 2>&- <&-', '> /dev/full']
)
def test_the_process_reaches_its_end(tmp_path, ending):
  script = tmp_path / 'a.py'
  script.write_text(_PRINT)
  out = tmp_path / 'out'
  command = f'{sys.executable} {script} {out} {ending}; echo ${{PIPESTATUS[0]}}'
  done = subprocess.run(
    ['bash', '-c', command],
    env=os.environ | {'PYTHONPATH': str(_ROOT)},
    capture_output=True,
    text=True,
    check=True,
  )
  assert (done.stdout, done.stderr) == ('0\n', '')
  assert out.read_text() == 'end\n'


def test_a_stream_stays_what_it_is(capsys):
  stream = console.Enduring(sys.stdout)
  print('5 µm', file=stream, flush=True)
  assert capsys.readouterr().out == '5 µm\n'
  assert stream.isatty() == sys.stdout.isatty()
