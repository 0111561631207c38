"""The log folder that tests/audit makes."""

from tests.audit.conftest import key, make_folder, signer

__all__ = ["key", "make_folder", "signer"]
