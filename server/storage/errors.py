"""The errors of the storage."""

from __future__ import annotations

from p2l_model.errors import P2LError


class StorageError(P2LError):
    """The database cannot be used now. The message holds no password."""


class StorageRefusedError(StorageError):
    """A record would not survive the death of the process, and the configuration says to refuse
    requests then."""
