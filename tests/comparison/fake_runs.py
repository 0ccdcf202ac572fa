"""Practice runs that compute nothing but leave what a run leaves."""

import dataclasses
import json
from types import SimpleNamespace

from rlt_jax import config as config_lib
from rlt_jax.export import checkpoint
from rlt_jax.finetuning import finetune_run
from rlt_jax.reporting import statistics
from rlt_jax.training import run_folder

# Of the VLA that runs as many steps a query as the agent.
BASE = statistics.from_plain(
  {
    'outcome': [1] * 10 + [0] * 10,
    'steps': [100] * 20,
  }
)


class FakeRun:
  """A run whose episodes depend on its settings.

  log: all folders that were run, in order. Set `diverge` or `stop` to the
  name of a folder: its run ends by a number that is not finite, or by Ctrl-C
  after a checkpoint.
  """

  log: list[str] = []
  diverge = stop = ''
  phase = 'practice'
  vla = 'v1'

  def __init__(self, *, workdir, config, resume, assets, command):
    self.experiment = SimpleNamespace(workdir=workdir)
    self._config, self._command = config, command
    run_folder.check_workdir(workdir, resume)
    workdir.mkdir(parents=True, exist_ok=True)
    text = config_lib.to_json(config)
    (workdir / run_folder.CONFIG_FILE).write_text(text, 'utf-8')
    self.resumed = resume

  def practice(self):
    folder = self.experiment.workdir
    name = f'{folder.parent.name}/{folder.name}'
    self.log.append(name + (' resumed' if self.resumed else ''))
    if name == self.diverge:
      raise FloatingPointError('Losses must stay finite: step 7.')
    meta = checkpoint.make_meta({}, {'vla': self.vla, 'token': 't'})
    checkpoint.save(folder, 100 + len(self.log), {'a': 1}, meta)
    if name == FakeRun.stop:
      FakeRun.stop = ''
      raise KeyboardInterrupt

  def report(self):
    folder, config = self.experiment.workdir, self._config
    imitates = config.agent_name == 'imitation'
    report = {
      'control_hz': 50, 'share_faster_than_all': None, 'commit': 'abc',
      'command': self._command, 'device': 'CPU', 'versions': {}, 'config': {},
      'wall_clock_s': {'practice_s': 90.0, 'evaluation_s': 30.0},
    }  # fmt: skip
    if imitates:
      outcomes = {'time_out': 3, 'success': 10, 'too_far': config.seed}
      report['practice'] = {
        'episodes': 13 + config.seed,
        'outcomes': outcomes,
        'critic_updates': 1000,
      }
      report['human'] = {'human_s': 45.0}
    base = {'outcome': [1] * 15 + [0] * 5, 'steps': [100] * 20}
    final = {'outcome': [int(not imitates)] * 20, 'steps': [50] * 20}
    end = f'{config.marks()[-1]:g}'
    noisy = {'outcome': [1] * 18 + [0] * 2, 'steps': [60] * 20}
    stored = {'base': base, f'mean@{end}': final, f'exploring@{end}': noisy}
    (folder / 'report.json').write_text(json.dumps(report), 'utf-8')
    (folder / 'evaluations.json').write_text(json.dumps(stored), 'utf-8')
    metrics = {
      'env_steps': 10,
      'q_mean': 0.4,
      'success': 0.5,
      'phase': FakeRun.phase,
    }
    (folder / 'metrics.jsonl').write_text(json.dumps(metrics) + '\n', 'utf-8')

  def close(self):
    pass


class FakeFinetuning(FakeRun):
  """A run that trains the VLA. losses: of what was collected, after it."""

  losses = {'collected': 0.8, 'demonstrations': 1.05}
  stretches = 12
  value = {}  # of the value
  final = 18  # successes of 20; the VLA before has 10

  def __init__(self, *, workdir, config, finetuning, assets, command):
    self.experiment = SimpleNamespace(workdir=workdir)
    self._config, self._command = config, command
    self._finetuning = finetuning
    self.resumed = (workdir / finetune_run.STAGES_FILE).exists()
    workdir.mkdir(parents=True, exist_ok=True)
    about = {
      'settings': dataclasses.asdict(finetuning),
      'fingerprints': {'vla': self.vla, 'token': 't'},
    }
    for name, text in (
      (finetune_run.METHOD_FILE, json.dumps(about)),
      (run_folder.CONFIG_FILE, config_lib.to_json(config)),
    ):
      (workdir / name).write_text(text, 'utf-8')

  def practice(self):
    folder = self.experiment.workdir
    name = f'{folder.parent.name}/{folder.name}'
    self.log.append(name + (' resumed' if self.resumed else ''))
    (folder / finetune_run.STAGES_FILE).write_text('{}', 'utf-8')
    if name == FakeRun.stop:
      FakeRun.stop = ''
      raise KeyboardInterrupt

  def report(self):
    super().report()
    folder, mark = self.experiment.workdir, f'{self._config.marks()[-1]:g}'
    rounds = [
      {
        'stretches': self.stretches,
        'median_stretch_steps': 40.0,
        'value': self.value,
        'held_out': {
          name: {'before': 1.0, 'after': loss}
          for name, loss in self.losses.items()
        },
      }
    ] * self._finetuning.rounds
    report = json.loads((folder / 'report.json').read_text('utf-8'))
    report['config'] = {'chunk_size': 10}
    report['practice'] = {
      'episodes': 30,
      'outcomes': {'time_out': 0, 'success': 30},
      'critic_updates': 0,
      'vla_updates': 1500,
    }
    report['finetuning'] = {'settings': {'least': 10}, 'rounds': rounds}
    (folder / 'report.json').write_text(json.dumps(report), 'utf-8')
    start, won = statistics.to_plain(BASE), self.final
    end = {'outcome': [1] * won + [0] * (20 - won), 'steps': [80] * 20}
    stored = {'base': start, 'base10@0': start, f'mean@{mark}': end}
    (folder / 'evaluations.json').write_text(json.dumps(stored), 'utf-8')
    (folder / 'metrics.jsonl').unlink()
