"""The rows of the comparison: what each one changes, in one table.

Everything that a row does not declare is the same for all rows: task, VLA,
token, start states, robot minutes, warm-up and discount. docs/baselines.md
says where the settings of a row come from and how it differs from what was
published.
"""

from collections.abc import Sequence
import dataclasses

from rlt_jax.finetuning.config import FinetuneConfig
from rlt_jax.finetuning.recap.config import RecapConfig
from rlt_jax.training import config as config_lib
from rlt_jax.training.config import PracticeConfig

# Robot minutes at which every row is evaluated, besides the end: the hand-over,
# the minutes after it, where success may fall, and the rest.
_MARKS = (2, 2.5, 3, 4, 5, 10)
# Start states of no run that settings were chosen on.
_EVAL_SEED = 40_000
# One row of replay a step instead of every second, so fewer updates for each:
# 150 per robot second, where the others have 125.
_EVERY_STEP = ('replay_stride=1', 'utd_ratio=3', 'replay_capacity=60000')

# A person demonstrates for the first of the two minutes of warm-up, some 20
# episodes, or helps for a tenth of the time.
_DEMOS = ('human.demo_steps=3000',)
_HELP = ('human.help_minutes=1.5',)

# As of RLPD: the target is the smaller value of two of ten critics.
_TEN_CRITICS = ('agent.num_critics=10', 'agent.target_critics=2')

# HIL-SERL's own frequency.
_10HZ = (
  'chunk_size=5', 'agent.hold=true', 'replay_stride=5', 'utd_ratio=12',
  'learning_starts=400',
)  # fmt: skip

# Of rows that train the VLA.
_OF_TUNED = (
  'enough_collected', 'loss_falls', 'keeps_demonstrations', 'not_below_start',
)  # fmt: skip

# One row of replay for each query of the VLA, with 30 updates.
_BY_QUERY = ('replay_stride=10', 'utd_ratio=30', 'learning_starts=200')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One row of the comparison.

  name: on the command line and in the table.
  about: what it is, in a few words.
  agent: of `agents.registry`.
  settings: 'field=value', what differs from the defaults of practice.
  gates: names of `gates.GATES` that it must pass.
  policy: whose figures are its own: 'mean', or 'exploring' of methods that
    sample, as published.
  finetuning: how the VLA is trained; None of methods that leave it frozen.
  """

  name: str
  about: str
  agent: str = 'rlt'
  settings: tuple[str, ...] = ()
  gates: tuple[str, ...] = ()
  policy: str = 'mean'
  finetuning: FinetuneConfig | None = None


_ROWS = (
  Row(name='rlt', about='the method'),
  Row(
    name='rlt_no_reference',
    about='the actor does not read the reference (pass-through)',
    settings=('agent.reference_input=false',),
  ),
  Row(
    name='rlt_no_dropout',
    about='the actor always reads the reference',
    settings=('agent.reference_dropout=0',),
  ),
  Row(
    name='rlt_beta_0',
    about='nothing holds the actor near the reference',
    settings=('agent.beta=0',),
    gates=('values_are_returns',),
  ),
  Row(
    name='token_zeros',
    about='no RL token',
    settings=('token_ablation=zeros',),
  ),
  Row(
    name='token_blind',
    about='proprioception in place of the RL token',
    settings=('token_ablation=socket_blind',),
  ),
  Row(
    name='token_mean',
    about="the mean of the VLA's tokens in place of the RL token",
    settings=('token_ablation=mean_tokens',),
  ),
  Row(
    name='resnet10_sim',
    about='a ResNet-10 trained on renders of other things, no RL token',
    settings=('token_ablation=resnet10_sim',),
  ),
  Row(
    name='token_true_pose',
    about='the true pose in place of the RL token',
    settings=('token_ablation=true_pose',),
  ),
  Row(
    name='rlt_demos',
    about='the method after a minute of demonstrations',
    settings=_DEMOS,
  ),
  Row(
    name='rlt_human',
    about='the method with a person who helps where it stalls',
    settings=_HELP,
  ),
  Row(
    name='rlt_demos_human',
    about='the method with demonstrations and a person who helps',
    settings=(*_DEMOS, *_HELP),
  ),
  Row(
    name='weak_bias',
    about='the method on a VLA that aims 0.4 mm beside',
    settings=('reference_fault=bias',),
  ),
  Row(
    name='weak_halved',
    about='the method on a VLA that moves half as far',
    settings=('reference_fault=halved',),
  ),
  Row(
    name='weak_noise',
    about='the method on a VLA with one action unit of noise',
    settings=('reference_fault=noise',),
  ),
  Row(
    name='chunk_1',
    about='chunks of one step',
    settings=('chunk_size=1', *_EVERY_STEP),
  ),
  Row(name='chunk_2', about='chunks of 2 steps', settings=('chunk_size=2',)),
  Row(
    name='chunk_5',
    about='chunks of 5 steps',
    settings=('chunk_size=5', *_EVERY_STEP),
  ),
  Row(name='chunk_20', about='chunks of 20 steps', settings=('chunk_size=20',)),
  Row(
    name='imitation',
    about='the beta term alone, without critics',
    agent='imitation',
    gates=('not_below_base',),
  ),
  Row(
    name='qchunking',
    about='critics choose among 8 chunks of the VLA',
    agent='best_of_n',
    gates=('starts_at_base',),
  ),
  Row(
    name='dsrl',
    about='a policy over the noise of the flow, one vector for all its steps',
    agent='dsrl',
    settings=_BY_QUERY,
    gates=('noise_is_base', 'noise_steers'),
    policy='exploring',
  ),
  Row(
    name='dsrl_subspace',
    about='the same over the 4 slowest cosines of the noise',
    agent='dsrl',
    settings=('agent.latent=subspace', *_BY_QUERY),
    gates=('noise_is_base', 'noise_steers'),
    policy='exploring',
  ),
  Row(
    name='residual',
    about='a bounded residual on the chunk, critics trained on the VLA first',
    agent='residual',
    gates=('starts_at_base', 'values_match_base'),
  ),
  Row(
    name='residual_1',
    about='the same for one step at a time',
    agent='residual',
    settings=('chunk_size=1', 'agent.pretrain_updates=16000', *_EVERY_STEP),
    gates=('starts_at_base', 'values_match_base'),
  ),
  Row(
    name='hil_serl',
    about='soft actor-critic from scratch at 50 Hz, half of it on VLA data',
    agent='hil_serl',
    settings=('chunk_size=1', *_EVERY_STEP),
    policy='exploring',
  ),
  Row(
    name='hil_serl_human',
    about='the same with demonstrations and a person who helps',
    agent='hil_serl',
    settings=('chunk_size=1', *_EVERY_STEP, *_DEMOS, *_HELP),
    policy='exploring',
  ),
  Row(
    name='rlpd',
    about='hil_serl with demonstrations and ten critics, without help',
    agent='hil_serl',
    settings=('chunk_size=1', *_EVERY_STEP, *_DEMOS, *_TEN_CRITICS),
    policy='exploring',
  ),
  Row(
    name='rlpd_chunk',
    about='the same for chunks of 10 steps',
    agent='hil_serl',
    settings=(*_DEMOS, *_TEN_CRITICS),
    policy='exploring',
  ),
  Row(
    name='hil_serl_10hz',
    about='hil_serl at 10 Hz: an action holds for 5 steps',
    agent='hil_serl',
    settings=_10HZ,
    gates=('reaches_80',),
    policy='exploring',
  ),
  Row(
    name='hil_serl_10hz_resnet10',
    about='the same with a ResNet-10 in place of the RL token',
    agent='hil_serl',
    settings=('token_ablation=resnet10_sim', *_10HZ),
    gates=('reaches_80',),
    policy='exploring',
  ),
  Row(
    name='dagger',
    about="the VLA trained on a person's steps in a run of rlt_human",
    settings=_HELP,
    gates=_OF_TUNED,
    finetuning=FinetuneConfig(driver='agent', kept='corrections'),
  ),
  Row(
    name='hg_dagger',
    about="the VLA trained on a person's steps where it stalls, three rounds",
    settings=_HELP,
    gates=_OF_TUNED,
    finetuning=FinetuneConfig(driver='vla', kept='corrections', rounds=3),
  ),
  Row(
    name='filtered_imitation',
    about='the VLA trained on its own successes',
    gates=_OF_TUNED,
    finetuning=FinetuneConfig(driver='vla', kept='successes', stride=6),
  ),
  Row(
    name='recap',
    about='the VLA told whether a chunk is better than expected, two rounds',
    settings=_HELP,
    gates=(*_OF_TUNED, 'value_ranks'),
    finetuning=RecapConfig(),
  ),
)
ROWS = {row.name: row for row in _ROWS}
# Rows of the paper and of its peers that cannot run here, and why.
MISSING = {
  'resnet10': "it needs the weights of SERL's ResNet-10, which are not "
  'shipped; `resnet10_sim` has weights of its own',
  'dsrl_na': 'its critic over actions and its distillation are not written',
  'qc_fql': 'its one-step actor is not written; `qchunking` is',
}


def find(names: Sequence[str]) -> list[Row]:
  """Returns the rows of the names.

  Raises:
    ValueError: a name that is unknown, given twice or of a row that cannot
      run.
  """
  if not names or len(set(names)) != len(names):
    raise ValueError(f'Rows must be one or more, none twice: {list(names)}.')
  for name in names:
    if name in MISSING:
      raise ValueError(f'The row {name!r} cannot run: {MISSING[name]}.')
    if name not in ROWS:
      raise ValueError(f'A row must be one of {", ".join(ROWS)}: {name!r}.')
  return [ROWS[name] for name in names]


def make_config(
  row: Row,
  minutes: float,
  *,
  changes: Sequence[str] = (),
  task: str = '',
  vla: str = '',
) -> PracticeConfig:
  """Returns the settings of a row; its seed is not set.

  Args:
    row: of `ROWS`.
    minutes: of the robot, for each seed.
    changes: 'field=value' for all rows.
    task, vla: as for practice; '' keeps the default.

  Raises:
    ValueError: a change of what the row or the comparison declares, or a
      setting that does not fit.
  """
  declared = _names(row.settings)
  for name in _names(changes):
    if name in declared:
      raise ValueError(
        f'The row {row.name!r} declares {name}; it cannot be changed for all.'
      )
    if name in ('seed', 'num_env_steps'):
      flag = {'seed': 'seeds', 'num_env_steps': 'minutes'}[name]
      raise ValueError(f'{name} must be given as --{flag}.')
  marks = ','.join(f'{m:g}' for m in _MARKS if m < minutes)
  # Rows are compared by their figures, not by films.
  ours = (
    f'eval_at_minutes={marks}',
    f'eval_seed={_EVAL_SEED}',
    'num_eval_videos=0',
  )
  try:
    config = config_lib.make_config(
      (*ours, *row.settings, *changes), task=task, vla=vla, agent=row.agent
    )
    steps = round(minutes * 60 * config.task.control_hz)
    return dataclasses.replace(config, num_env_steps=steps)
  except ValueError as error:
    raise ValueError(
      f'The row {row.name!r} cannot have these settings: {error}'
    ) from error


def _names(settings: Sequence[str]) -> list[str]:
  return [text.partition('=')[0].strip() for text in settings]
