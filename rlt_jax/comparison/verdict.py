"""The answer of a gate."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Verdict(NamedTuple):
  """passed: whether the rule holds. numbers: behind it, JSON types."""

  passed: bool
  numbers: Mapping[str, Any]
