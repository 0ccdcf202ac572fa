"""Small demonstrations, shared with the tests of VLAs."""

from tests.vlas.conftest import config, demos  # noqa: F401
