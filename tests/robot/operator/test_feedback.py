from rlt_jax.robot.operator.events import Event, Kind
from rlt_jax.robot.operator.feedback import Feedback


def test_a_key_that_repeats_is_said_once():
  feedback, said = Feedback(), []
  feedback.say = said.append

  def ignore(kind, time, why, device='keys'):
    said.clear()
    feedback.ignored(Event(kind, time, device), why)
    return said

  assert ignore(Kind.CLEAR, 1.0, 'why') == ["Ignored 'clear' of the keys: why."]
  for time in (1.5, 2.0, 2.9):  # however long it is held
    assert not ignore(Kind.CLEAR, time, 'why')
  assert ignore(Kind.CLEAR, 4.0, 'why')
  assert ignore(Kind.CLEAR, 4.1, 'another')
  assert ignore(Kind.STOW, 4.2, 'another')
  assert ignore(Kind.STOW, 4.3, 'another', device='pad')


def test_nothing_is_said_to_nobody():
  Feedback().ignored(Event(Kind.CLEAR, 1.0, 'keys'), 'why')
