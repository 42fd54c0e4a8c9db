"""Leaderboards that were computed before, by the token ids that they are of."""

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
    """The last `size` values used. Keys are digests under a key of this process's own: no ids, and
    so no prompt, stay in memory."""

    def __init__(self, size: int) -> None:
        """size: 0 keeps nothing."""
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._values: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def key(self, ids: Sequence[int]) -> bytes:
        """Equal for equal ids, and in all likelihood for those alone."""
        raw = np.asarray(ids, dtype=np.int64).tobytes()
        return hashlib.blake2b(raw, digest_size=_DIGEST_BYTES, key=self._secret).digest()

    def get(self, key: bytes) -> T | None:
        """The value, which counts as used, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: T) -> None:
        """Remembers it; the one that was not used for longest makes room."""
        if self._size <= 0:
            return
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
