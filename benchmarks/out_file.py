"""The flag --out of the benchmarks: a file that is written after the work."""

from absl import flags

from experiments import launch
from rlt_jax import files

flags.disclaim_key_flags()  # they count as the benchmark's own, for its --help


def define_out() -> flags.FlagHolder[str]:
  """Defines --out; '' where it is not given."""
  return launch.define_path(
    'out',
    '',
    'File to write, JSON or JSON lines; empty writes none.',
  )


def check(path: str) -> None:
  """Ends the process with a sentence unless the file can be written.

  For the start of `main`, before the work. It makes the file's folder.
  """
  if path:
    with launch.user_errors():
      files.check_writable(path)
