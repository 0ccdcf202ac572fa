"""Keys at random times in a terminal: every label reaches the learner."""

from concurrent import futures
import random
import signal
import time

from tests.arm_faults.cases import check_learned, Context, Tally
from tests.arm_faults.rig import Rig, Server, wait_for

_LOOPS = 4  # side by side; more are late on one core
_LABELS = {'s': 'success', 'f': 'failure', 'a': 'abort', 'd': 'rerecord'}
# A label in the first half second of an episode has no effect.
_FIRST_S = 0.6


def run(context: Context) -> Tally:
  """Labels episodes of several loops at random times, also after takeovers."""
  tally, server = context.tally, Server()
  shares = [len(range(i, context.count, _LOOPS)) for i in range(_LOOPS)]
  try:
    with futures.ThreadPoolExecutor(_LOOPS) as pool:
      done = [
        pool.submit(_one_loop, context, server, index, share)
        for index, share in enumerate(shares)
        if share
      ]
      for future in done:
        part = future.result()
        tally.tried += part.tried
        tally.survived += part.survived
        tally.notes += part.notes
  finally:
    server.kill()
  return tally


def _one_loop(context, server, index, count) -> Tally:
  tally, rng = Tally(), random.Random(f'{context.seed} {index}')
  rig = Rig(context.fresh(f'labels{index}'), server.port)
  try:
    rig.start()
    for number in range(count):
      tally.add(_one_episode(rig, rng, number))
    rig.signal(signal.SIGTERM)
    rig.wait()
  finally:
    rig.stop()
  return tally


def _one_episode(rig, rng, number) -> list[str]:
  rig.wait_until_in_motion()
  time.sleep(rng.uniform(_FIRST_S, _FIRST_S + 0.3))
  for key in rng.choice(['', '', 't', 'tr', 'tr', 'trtr']):
    rig.press(key)
    time.sleep(rng.uniform(0.0, 0.6))
  key = rng.choice('ssffad')
  rig.press(key)
  wait_for(lambda: len(rig.rows()) > number, 'the end of an episode')
  said, listed = _LABELS[key], rig.rows()[number]['outcome']
  faults = [] if listed == said else [f'{said} is listed as {listed}']
  return faults + check_learned(rig.last_episode(), said)
