"""The section on what the critics are worth."""

from rlt_jax.reporting import value_section

_Q = {
  'robot_minutes': [2.0, 2.5, 3.0, 3.5],
  'episodes': [22, 5, 8, 11],
  'success': [0.73, 0.4, 0.5, 0.91],
  'actor_above_reference': [0.6, 0.93, 0.9, 0.97],
  'q_success': [0.5, None, 0.61, 0.7],
  'return_success': [0.25, None, 0.6, 0.69],
  'cosine_params': [0.125, 0.5, 0.75, 0.875],
}


def test_the_dip_after_the_hand_over_is_said():
  note = value_section.section(_Q).note
  assert (
    'At 2.5 min the critics preferred the actor in 93% of the states while '
    'it succeeded less often: in 40% of 5 episodes since the moment before, '
    'the VLA in 73% of 22 before the hand-over. The difference is -64 to +10 '
    'points (95 %), so that it may be chance.'
  ) in note
  assert 'with exploration noise; the VLA drove those of the first' in note


def test_a_clear_dip_is_not_called_chance():
  clear = _Q | {'episodes': [40, 30, 8, 11], 'success': [0.9, 0.2, 0.5, 0.91]}
  note = value_section.section(clear).note
  assert 'to -' in note and 'chance' not in note


def test_what_a_person_drove_is_not_said_to_be_the_vla():
  note = value_section.section(_Q | {'human_rows': [3, 0, 0, 0]}).note
  assert 'the VLA or a person drove those of the first' in note
  assert 'the VLA or a person in 73% of 22 before the hand-over' in note


def test_an_actor_that_never_does_worse_is_not_blamed():
  better = _Q | {'success': [0.3, 0.4, 0.5, 0.91]}
  assert 'At no moment' in value_section.section(better).note
  modest = _Q | {'actor_above_reference': [0.5] * 4}
  assert 'At no moment' in value_section.section(modest).note
  unknown = _Q | {'success': [None, 0.4, 0.5, 0.91]}
  assert 'No episode ended' in value_section.section(unknown).note


def test_a_row_has_what_is_known():
  found = value_section.section(_Q)
  assert len({len(row) for row in (found.head, *found.rows)}) == 1
  first, second, *_ = found.rows
  assert first[:4] == ['2.0', '22', '73%', '0.50 / 0.25']
  assert first[-1] == '0.12' and second[3] == '– / –'
  human = value_section.section(
    _Q
    | {'human_rows': [0, 0, 3, 0], 'human_above_actor': [None, None, 1, None]}
  )
  assert human.head[-1] == 'prefers human to actor'
  assert [row[-1] for row in human.rows] == ['–', '–', '100%', '–']


def test_a_long_run_shows_some_of_its_moments():
  q = {'robot_minutes': [float(i) for i in range(24)]}
  shown = [row[0] for row in value_section.section(q).rows]
  wanted = (0, 1, 2, 3, 4, 5, 10, 15, 20, 23)
  assert shown == [f'{i:.1f}' for i in wanted]
