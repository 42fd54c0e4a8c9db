"""Records which model's provider has a conversation in its prompt cache, as far as this process
knows, and those that share sessions with it.

A request is stateless, but the next turn of its conversation begins with the same messages. A keyed
hash of them recognises it, and nothing of the text is kept. A hash covers the caller's name, so
that callers never see each other's conversations.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import orjson

from server.gateway.cache_rules import LEAST_TOKENS, USUAL_S

_MOST: Final = 50_000
# A conversation that was answered by more models than this is remembered for the latest of them.
_MODELS_EACH: Final = 8
# Of a long conversation, only this many of the latest prefixes are looked up.
_LOOKED_AT: Final = 8


class Prefixes(NamedTuple):
    """The hashes that recognise a conversation.

    messages: one hash for each prefix of the messages, the last one for all of them. tools: the
    hash of what precedes the messages in a prompt; with other tools it is another prompt.
    """

    messages: Sequence[bytes]
    tools: bytes


class _Held(NamedTuple):
    """What a model's provider holds of a prompt. until_s: on the clock. effort: at which the model
    was asked, since with another one the cache may be lost."""

    tokens: int
    until_s: float
    effort: str


class PromptCaches:
    """Maps prefix hashes to what the models that have answered the conversation hold of it, for as
    long as their providers keep it. on_change: set where other processes are told; receives a key
    and its new value, see `take`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_change: Callable[[bytes, bytes], None] | None = None
        self._key = secrets.token_bytes(32)
        self._clock = clock
        self._held: OrderedDict[bytes, Mapping[str, _Held]] = OrderedDict()

    def answered(
        self,
        caller: str,
        body: Mapping[str, Any],
        model: str,
        prompt_tokens: int,
        prefixes: Prefixes | None = None,
        *,
        kept_s: float = USUAL_S,
        effort: str = "",
    ) -> None:
        """Records that a catalogue model has read the body's messages. prompt_tokens: by its
        provider's count. prefixes: those of the body, where they are already known. kept_s: for how
        many seconds its provider keeps them."""
        if prompt_tokens < LEAST_TOKENS:
            return
        if prefixes is None:
            prefixes = self.prefixes(caller, body)
        if not prefixes.messages:
            return
        now = self._clock()
        before = self._latest(prefixes).items()
        held = {name: one for name, one in before if name != model and one.until_s >= now}
        while len(held) >= _MODELS_EACH:
            del held[next(iter(held))]
        held[model] = _Held(prompt_tokens, now + kept_s, effort)
        whole = prefixes.messages[-1] + prefixes.tools
        self._put(whole, held)
        if self.on_change is not None:
            # Clocks of processes agree on the time of day alone.
            offset_s = time.time() - now
            told = {n: (one.tokens, one.until_s + offset_s, one.effort) for n, one in held.items()}
            self.on_change(whole, orjson.dumps(told))

    def _put(self, whole: bytes, held: Mapping[str, _Held]) -> None:
        self._held[whole] = held
        self._held.move_to_end(whole)
        if len(self._held) > _MOST:
            self._held.popitem(last=False)

    def take(self, whole: bytes, value: bytes) -> None:
        """Takes in what another process knows. whole: hashes of messages and tools. value: JSON,
        for each model its tokens, the end of their time in seconds since 1970, and the effort; what
        cannot be read is nothing."""
        offset_s = time.time() - self._clock()
        with suppress(ValueError, TypeError, AttributeError):
            told = orjson.loads(value)
            held = {
                str(name): _Held(int(tokens), float(until_s) - offset_s, str(effort))
                for name, (tokens, until_s, effort) in told.items()
            }
            self._put(whole, held)

    def cached_tokens(
        self,
        caller: str,
        body: Mapping[str, Any],
        prefixes: Prefixes | None = None,
        effort: str = "",
        effort_keeps: Collection[str] = (),
    ) -> dict[str, int]:
        """Tokens at the beginning of the body that each model's provider should have cached, by
        catalogue name. prefixes: those of the body, where they are already known. effort: the
        request's; effort_keeps: the models whose cache a change of effort keeps."""
        if not self._held:
            return {}
        if prefixes is None:
            prefixes = self.prefixes(caller, body)
        held = self._latest(prefixes)
        if not held:
            return {}
        now = self._clock()
        return {
            name: one.tokens
            for name, one in held.items()
            if one.until_s >= now and (one.effort == effort or name in effort_keeps)
        }

    def _latest(self, prefixes: Prefixes) -> Mapping[str, _Held]:
        """What is held of the longest known prefix."""
        tools = prefixes.tools
        for prefix in reversed(prefixes.messages[-_LOOKED_AT:]):
            held = self._held.get(prefix + tools)
            if held is not None:
                return held
        return {}

    def prefixes(self, caller: str, body: Mapping[str, Any]) -> Prefixes:
        """The hashes of one of the caller's conversations."""
        messages = body.get("messages")
        if not isinstance(messages, list | tuple):
            return Prefixes((), b"")
        digest = hashlib.blake2b(orjson.dumps(caller), key=self._key, digest_size=16)
        prefixes = []
        for message in messages:
            data = orjson.dumps(message, option=orjson.OPT_SORT_KEYS)
            if b'"cache_control"' in data:
                # Cache marks move from turn to turn.
                data = orjson.dumps(_unmarked(message), option=orjson.OPT_SORT_KEYS)
            # JSON values need no separator: the end of each is unambiguous.
            digest.update(data)
            prefixes.append(digest.digest())
        has_tools = body.get("tools") is not None or body.get("functions") is not None
        return Prefixes(prefixes, self._hash_of_tools(body) if has_tools else b"")

    def rekey(self, key: bytes) -> None:
        """Uses another key for hashes, on which several processes have agreed. What was recognised
        by hashes with the old key is forgotten."""
        if key != self._key:
            self._key = key
            self._held.clear()

    def _hash_of_tools(self, body: Mapping[str, Any]) -> bytes:
        said = orjson.dumps([body.get("tools"), body.get("functions")])
        return hashlib.blake2b(said, key=self._key, digest_size=16).digest()


def _unmarked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _unmarked(v) for name, v in value.items() if name != "cache_control"}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value
