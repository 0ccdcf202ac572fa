"""What the preflight found, and its verdict."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

OK, NOTE, BAD = 'ok', 'note', 'bad'


class Finding(NamedTuple):
  """Subject and result of a check, with the verdict OK, NOTE or BAD."""

  what: str
  found: str
  verdict: str


def attempt(
  what: str, text: str, call: Callable[..., None], *args: Any, **kwargs: Any
) -> Finding:
  """Calls a check: OK with a text, or BAD with what it raised, a ValueError."""
  try:
    call(*args, **kwargs)
  except ValueError as error:
    return Finding(what, str(error), BAD)
  return Finding(what, text, OK)


def verdict(findings: Sequence[Finding]) -> str:
  """Returns the verdict of all findings, a sentence."""
  bad = [x for x in findings if x.verdict == BAD]
  notes = sum(x.verdict == NOTE for x in findings)
  if bad:
    text = '; '.join(f'{x.what}: {x.found}' for x in bad)
    return f'This station must not run: {text}'
  more = f', with {notes} to look at' if notes else ''
  return f'This station may run{more}.'


def lines(findings: Sequence[Finding]) -> list[str]:
  """Returns a line per finding."""
  width = max(len(x.what) for x in findings)
  return [f'{x.verdict:4}  {x.what:{width}}  {x.found}' for x in findings]


def print_verdict(findings: Sequence[Finding]) -> bool:
  """Prints findings and verdict; returns whether the station may run."""
  for line in lines(findings):
    print(line)
  print(verdict(findings), flush=True)
  return all(x.verdict != BAD for x in findings)
