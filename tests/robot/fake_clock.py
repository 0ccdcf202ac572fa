"""A clock that moves when a test sets or sleeps on it."""


class FakeClock:
  def __init__(self, time: float = 100.0):
    self.time = time

  def now(self) -> float:
    return self.time

  def sleep_until(self, deadline: float) -> None:
    self.time = max(self.time, deadline)
