"""Which model holds a conversation in its provider's prompt cache, as far as this process knows.

A request is stateless, but its next turn begins with the very messages it was: a keyed hash of
those tells them again, and nothing of the text is kept. Callers never see each other's: a hash
covers the caller's name.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

# What providers keep without being paid for more.
_KEPT_S: Final = 300.0
_MOST: Final = 50_000
# Providers cache no prefix shorter than this.
_LEAST_TOKENS: Final = 1024
# Of a long conversation only so many of the latest prefixes are looked up.
_LOOKED_AT: Final = 8


class _Held(NamedTuple):
    model: str
    tokens: int
    at_s: float


class PromptCaches:
    """prefix hash -> model, the latest ones, for five minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock
        self._held: OrderedDict[bytes, _Held] = OrderedDict()

    def answered(
        self,
        caller: str,
        body: Mapping[str, Any],
        model: str,
        prompt_tokens: int,
        prefixes: Sequence[bytes] | None = None,
    ) -> None:
        """A model of the catalogue has read the body's messages, prompt_tokens by its count.
        prefixes: those of the body, where they are known already."""
        if prompt_tokens < _LEAST_TOKENS:
            return
        if prefixes is None:
            prefixes = self.prefixes(caller, body)
        if not prefixes:
            return
        self._held[prefixes[-1]] = _Held(model, prompt_tokens, self._clock())
        self._held.move_to_end(prefixes[-1])
        if len(self._held) > _MOST:
            self._held.popitem(last=False)

    def cached_tokens(
        self, caller: str, body: Mapping[str, Any], prefixes: Sequence[bytes] | None = None
    ) -> dict[str, int]:
        """Catalogue name -> tokens of the body's beginning that its provider should hold.
        prefixes: those of the body, where they are known already."""
        if not self._held:
            return {}
        found: dict[str, int] = {}
        oldest = self._clock() - _KEPT_S
        for prefix in self.prefixes(caller, body) if prefixes is None else prefixes:
            held = self._held.get(prefix)
            if held is not None and held.at_s >= oldest:
                found[held.model] = max(held.tokens, found.get(held.model, 0))
        return found

    def prefixes(self, caller: str, body: Mapping[str, Any]) -> list[bytes]:
        """A hash for each of the longest beginnings of the conversation, the whole last."""
        messages = body.get("messages")
        if not isinstance(messages, Sequence):
            return []
        digest = hashlib.blake2b(key=self._key, digest_size=16)
        # tools stand before the messages in a prompt: other tools, another prefix
        digest.update(orjson.dumps([caller, body.get("tools"), body.get("functions")]))
        prefixes = []
        for message in messages:
            digest.update(_bytes_of(message))
            digest.update(b"\0")
            prefixes.append(digest.digest())
        return prefixes[-_LOOKED_AT:]


def _bytes_of(message: Any) -> bytes:
    """Of a message without its cache marks, which move from turn to turn."""
    data = orjson.dumps(message, option=orjson.OPT_SORT_KEYS)
    if b'"cache_control"' not in data:
        return data
    return orjson.dumps(_unmarked(message), option=orjson.OPT_SORT_KEYS)


def _unmarked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _unmarked(v) for name, v in value.items() if name != "cache_control"}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value
