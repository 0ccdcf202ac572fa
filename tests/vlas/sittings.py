"""A sitting that ends as by a kill, for tests."""

from rlt_jax.training import folder_sitting


class StoppedError(Exception):
  """Stands for a kill."""


class Sitting(folder_sitting.FolderSitting):
  """Prints into a list, keeps some steps only, and is killed after one."""

  def __init__(self, folder, *, resume, last_step=None, kept=range(100)):
    super().__init__(folder, resume=resume, command=['python', 'x'])
    self.lines, self._last_step, self._kept = [], last_step, kept

  def save(self, step, state):
    if step in self._kept:
      super().save(step, state)

  def show(self, text):
    if text.startswith(f'step {self._last_step} '):
      raise StoppedError

  def say(self, text):
    self.lines.append(text)
