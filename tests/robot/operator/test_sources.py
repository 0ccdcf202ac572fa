from rlt_jax import types
from rlt_jax.robot.operator import sources
from rlt_jax.robot.operator.handover import Drive


def test_the_numbers_are_the_ones_the_rows_use():
  for name in ('VLA', 'ACTOR', 'HUMAN'):
    assert getattr(sources, name) == getattr(types.Source, name)


def test_each_tick_has_a_driver_unless_the_arm_holds():
  assert sources.tick_source(Drive.POLICY, actor=False) == sources.VLA
  assert sources.tick_source(Drive.POLICY, actor=True) == sources.ACTOR
  assert sources.tick_source(Drive.HUMAN, actor=True) == sources.HUMAN
  assert sources.tick_source(Drive.HOLD, actor=True) is None
