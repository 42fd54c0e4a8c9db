"""Remembers leaderboards by the token ids that they were computed from."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import numpy as np

_DIGEST_BYTES: Final = 16

T = TypeVar("T")


class PromptCache(Generic[T]):
    """Keeps the `size` most recently used values.

    The keys are digests with a secret of this process, so that no ids, and no prompts, stay in
    memory.
    """

    def __init__(self, size: int) -> None:
        """size: 0 disables the cache."""
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._values: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def key(self, ids: Sequence[int]) -> bytes:
        """The digest of ids; different ids have different digests, except with negligible
        probability."""
        raw = np.asarray(ids, dtype=np.int64).tobytes()
        return hashlib.blake2b(raw, digest_size=_DIGEST_BYTES, key=self._secret).digest()

    def get(self, key: bytes) -> T | None:
        """Returns the value, which then counts as just used, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: T) -> None:
        """Stores a value; the least recently used one is dropped if there is no room."""
        if self._size <= 0:
            return
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
