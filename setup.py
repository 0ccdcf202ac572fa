"""What pyproject.toml cannot say: the launch files are a part of the package.

The folder `experiments` is installed as `rlt_jax.experiments`, and each of its
launch files as a command: `rlt-export-policy` is export_policy.py.
"""

import pathlib

import setuptools

_EXPERIMENTS = 'rlt_jax.experiments'


def _commands() -> list[str]:
  return [
    f'rlt-{path.stem.replace("_", "-")} = {_EXPERIMENTS}.launch:run_command'
    for path in sorted(pathlib.Path('experiments').glob('*.py'))
    if "\nif __name__ == '__main__':" in path.read_text('utf-8')
  ]


setuptools.setup(
  packages=[*setuptools.find_packages(include=['rlt_jax*']), _EXPERIMENTS],
  package_dir={_EXPERIMENTS: 'experiments'},
  entry_points={'console_scripts': _commands()},
)
