"""Enumerations of texts, as `enum.StrEnum` has them from Python 3.11 on.

The computers of many robots have Python 3.10 (JetPack 6, Ubuntu 22.04).
"""

import enum


class TextEnum(str, enum.Enum):  # noqa: UP042
  """Members are texts, also when they are formatted or written as JSON."""

  def __str__(self) -> str:
    return str(self.value)

  __format__ = str.__format__
