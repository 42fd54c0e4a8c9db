"""The prompt caches of providers, as they are billed: what each model holds of each conversation,
and until when."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from router.catalog import ModelCard
from server.model_facts import ModelFacts
from server.model_facts.types import Caching
from server.offline.jobs.turns import Place, Turn

# Where the facts name no lifetime: what providers keep for nothing.
_LIFETIME_S: Final = 300.0
_LEAST_TOKENS: Final = 1024
_MOST: Final = 50_000
_WRITES: Final = frozenset({"marked", "both"})
_NO_FACTS: Final = Caching()


class Cached(NamedTuple):
    """Parts of a request's input: read from the cache, written to it, written for an hour."""

    read: int = 0
    written: int = 0
    written_1h: int = 0


@dataclass(slots=True)
class _Held:
    tokens: int
    until_s: float


class ProviderCaches:
    """The caches of all providers, for one run of the recorded jobs.

    A provider holds what a request of the conversation sent to the model, for the model's lifetime
    after its last use. Other conversations never share it, although the same system prompt may
    begin them: the shares that are read are too low rather than too high. of_messages: the
    providers that speak the Messages API.
    """

    def __init__(
        self,
        cards: Mapping[str, ModelCard],
        facts: Mapping[str, ModelFacts],
        of_messages: Collection[str],
    ) -> None:
        self._cards = cards
        self._of_messages = of_messages
        self._caching = {name: one.caching for name, one in facts.items()}
        self._held: OrderedDict[Place, dict[str, _Held]] = OrderedDict()

    def asked(self, turn: Turn, model: str) -> Cached:
        """What of the request's input its provider reads and writes; it is held from now on."""
        caching, key = self._cache(turn, model)
        held = self._of(turn)
        if caching.kind in ("none", "unknown"):
            return Cached()
        least = _LEAST_TOKENS if caching.least_tokens is None else caching.least_tokens
        read = _read(turn, held.get(key), least)
        n_input = turn.line.input_tokens
        if n_input < least or not self._is_written(turn, model, caching):
            return Cached(read)
        is_long = turn.line.cache_write_1h_tokens > 0 and len(caching.lifetimes_s) > 1
        held[key] = _Held(n_input, turn.now_s + _lifetime_s(caching, is_long))
        if caching.kind not in _WRITES or self._is_free(model, n_input):
            return Cached(read)
        written = n_input - read
        return Cached(read, 0, written) if is_long else Cached(read, written)

    def _cache(self, turn: Turn, model: str) -> tuple[Caching, str]:
        """How a model's prompts are cached, and the name of its cache. The columns of a model share
        one where a change of effort keeps it."""
        card = self._cards.get(model)
        base = model if card is None else card.base
        caching = self._caching.get(base, _NO_FACTS)
        if caching.kept_at_other_effort == "yes":
            return caching, base
        effort = turn.line.effort if card is None or card.effort is None else card.effort
        return caching, f"{base}:{effort}"

    def _of(self, turn: Turn) -> dict[str, _Held]:
        """What is held of the conversation. One that begins anew shares nothing with what was."""
        if turn.is_anew:
            self._held.pop(turn.place, None)
        held = self._held.setdefault(turn.place, {})
        self._held.move_to_end(turn.place)
        if len(self._held) > _MOST:
            self._held.popitem(last=False)
        return held

    def _is_written(self, turn: Turn, model: str, caching: Caching) -> bool:
        """Where a provider caches marked parts only, the gateway marks what will be sent again, on
        the Messages API: a conversation with tools, or one that has gone on."""
        if caching.kind != "marked":
            return True
        card = self._cards.get(model)
        is_sent_again = "tools" in turn.line.needs or turn.number > 0
        return is_sent_again and card is not None and card.provider in self._of_messages

    def _is_free(self, model: str, n_input: int) -> bool:
        """Whether writing has no price of its own: then it is billed as input."""
        card = self._cards.get(model)
        prices = None if card is None else card.prices_at(None, n_input)
        return prices is None or prices.cache_write_usd_per_mtok is None


def _read(turn: Turn, held: _Held | None, least: int) -> int:
    if held is None or held.until_s < turn.now_s:
        return 0
    tokens = min(held.tokens, turn.prefix_tokens)
    return tokens if tokens >= least else 0


def _lifetime_s(caching: Caching, is_long: bool) -> float:
    if not caching.lifetimes_s:
        return _LIFETIME_S
    return float(max(caching.lifetimes_s) if is_long else caching.lifetimes_s[0])
