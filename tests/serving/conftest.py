"""Untrained assets, shared with the tests of training."""

from tests.training.conftest import assets, config  # noqa: F401
