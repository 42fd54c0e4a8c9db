"""An attempt in progress: opened by Accounts.reserve, settled exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Protocol

from router.catalog import ModelCard
from router.cost import Usage
from server.auth.authenticator import Caller
from server.config.settings.unknown_cost import UnknownCost
from server.ledger import finish
from server.ledger.attempt import Attempt, CostSource, Outcome, pico
from server.ledger.billing import Bill, Known, Seen, bill, stated_bill
from server.ledger.window import WindowSpec
from server.upstream.errors import (
    Progress,
    Stage,
    UpstreamError,
    UpstreamModelRefusedError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamStreamBrokenError,
    UpstreamTimeoutError,
)
from server.wire.service_tier import reported_tier
from server.wire.surface import Surface
from server.wire.usage import (
    WEB_SEARCHES,
    parse_usage,
    reported_cost,
    searches_in,
    tool_fees_usd,
    with_thoughts_of_total,
)

_OUTCOMES: Final = (
    (UpstreamRejectedError, Outcome.REJECTED),
    (UpstreamModelRefusedError, Outcome.REJECTED),
    (UpstreamRateLimitedError, Outcome.RATE_LIMITED),
    (UpstreamTimeoutError, Outcome.TIMED_OUT),
    (UpstreamStreamBrokenError, Outcome.BROKEN),
)


_TOLD: Final = frozenset({CostSource.USAGE, CostSource.REPORTED})
# At most this many characters of the provider's model name are stored.
_MOST_CHARS: Final = 200
# The objects in which other surfaces put what an answer says about itself.
_INSIDE: Final = ("message", "response")
# Part of the names of models that Google's endpoint in OpenAI's form serves.
_GOOGLE: Final = "gemini"
# Fields of a chunk that may hold more than its text.
_TELLING: Final = frozenset({"usage", "service_tier", "message", "response"})


class Settlement(Protocol):
    """Receives settled attempts. It must not wait: a cancelled request is settled too."""

    def settled(self, entry: Entry) -> None:
        """Called once for each entry."""


class Entry:
    """The reservation for one attempt, and its settlement.

    output_cap: the tokens that the reservation pays for, to be sent as the cap; None: no cap is
    sent. surface: the form of the answer that is seen. specs: the windows in which it is reserved.
    is_bill: whether a cost that the answer states is what the provider charges. progress: how far
    the request has come; None where it is not known: it then counts as sent. `settle`, `fail` and
    `cancel` end the entry; only the first of these calls counts.
    """

    def __init__(
        self,
        row: Attempt,
        known: Known,
        *,
        output_cap: int | None,
        policy: UnknownCost,
        to: Settlement,
        caller: Caller | None = None,
        specs: Sequence[WindowSpec] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.row = row
        self.output_cap = output_cap
        self.caller = caller
        self.specs = specs
        self.surface = Surface.CHAT
        self.is_bill = False
        self.progress: Progress | None = None
        self.cost_usd: Decimal | None = None
        # Called with the usage that an answer reported.
        self.on_usage: Callable[[Usage], None] | None = None
        # Called with the id of each call that an answer makes, as it arrives.
        self.on_call: Callable[[str], None] | None = None
        self._known = known
        self._policy = policy
        self._to = to
        self._clock = clock
        self._seen = Seen(tier=known.tier)
        self._usage: dict[str, Any] = {}
        self._has_thoughts = False
        self._started = time.perf_counter()

    @property
    def reported_cost_usd(self) -> Decimal | None:
        """The cost by the provider's own counts or statement so far; None where there is neither,
        or no price."""
        if self.row.outcome is not Outcome.OPEN:
            return self.cost_usd if self.row.cost_source in _TOLD else None
        self._seen.usage = self._reported()
        so_far = self._billed(Outcome.ANSWERED)
        return so_far.cost_usd if so_far.source in _TOLD else None

    def served(self, other: ModelCard, said: str) -> None:
        """Records that another model answers than the one asked for. said: the provider's name for
        it."""
        self._seen.served = other
        self.row.served_model = said[:_MOST_CHARS]
        # The tokens of another model say nothing about the model that was asked for.
        self.on_usage = None

    @property
    def in_session(self) -> bool:
        """Whether money of its session is held for it."""
        return any(spec.session is not None for spec in self.specs)

    @property
    def is_open(self) -> bool:
        """Whether the entry is not settled yet."""
        return self.row.outcome is Outcome.OPEN

    def answer(self, body: Mapping[str, Any]) -> None:
        """Settles the entry by a whole answer."""
        try:
            self._note(body)
            self.read_words(body)
        finally:
            # Whatever the answer holds, its money is not held for ever.
            self.settle(Outcome.ANSWERED)

    def read_usage(self, body: Mapping[str, Any]) -> None:
        """Reads the usage of a whole answer; the entry is settled once its text has been read
        too."""
        self._note(body)

    def read_beginning(self, usage: Mapping[str, Any]) -> None:
        """Reads the usage that a stream has reported before it broke off."""
        self._seen.is_partial = True
        self._count(usage)

    def read_words(self, body: Mapping[str, Any]) -> None:
        """Reads the rest of a whole answer; may be called in a thread."""
        for choice in _dicts(body.get("choices")):
            self._see(choice.get("message"))
            self.row.finish_reasons += finish.reason(choice.get("finish_reason"))
            if "usage" in choice:
                self._count(choice["usage"])
        # The answers of other surfaces.
        parts = body.get("content") or body.get("output")
        for part in _dicts(parts) if parts else ():
            self._note_call(part)

    def see(self, chunk: Mapping[str, Any]) -> None:
        """Reads a chunk of a streamed answer."""
        if self.row.upstream_id is None or not _TELLING.isdisjoint(chunk):
            self._note(chunk)
        if "choices" not in chunk:
            # The events of other surfaces have their delta at the top level.
            delta = chunk.get("delta")
            self._see({"text": delta} if isinstance(delta, str) else delta)
            begun = chunk.get("content_block") or chunk.get("item")
            if isinstance(begun, dict):
                self._note_call(begun)
            return
        for choice in _dicts(chunk["choices"]):
            delta = choice.get("delta")
            if delta.__class__ is dict and len(delta) == 1 and "content" in delta:
                # Nearly all chunks: a piece of text, and nothing else.
                self._see_text(delta["content"])
            else:
                self._see(delta)
            if "finish_reason" in choice and choice["finish_reason"] is not None:
                self.row.finish_reasons += finish.reason(choice["finish_reason"])
            if "usage" in choice:
                # Moonshot reports the usage here.
                self._count(choice["usage"])

    def fail(self, error: UpstreamError) -> None:
        """Settles an attempt that ended in an error."""
        try:
            if error.reported is not None:
                self._note(error.reported)
        finally:
            self._settle_failed(error)

    def _settle_failed(self, error: UpstreamError) -> None:
        outcome = next((o for kind, o in _OUTCOMES if isinstance(error, kind)), None)
        if outcome is None or error.stage is not Stage.SENT:
            # A request that was never sent is never billed.
            outcome = Outcome.UNAVAILABLE
        self.settle(outcome, taken_on=error.status == 200)

    def settle(self, outcome: Outcome, *, taken_on: bool = False) -> None:
        """Settles the entry; does nothing where it is settled already."""
        if not self.is_open:
            return
        self._seen.usage = self._reported()
        self._seen.taken_on = taken_on
        self._seen.sent = self.progress is None or self.progress.stage is Stage.SENT
        thinks = self.progress is not None and self.progress.thinks
        self._seen.unseen = thinks and not self._has_thoughts
        self._close(outcome, self._billed(outcome))
        self._to.settled(self)
        # Learning comes last: whatever goes wrong with it, the attempt is settled.
        if self._seen.usage is not None and self.on_usage is not None:
            self.on_usage(self._seen.usage)

    def _reported(self) -> Usage | None:
        """What the provider has counted so far."""
        found = parse_usage(self._usage, self.surface)
        is_google = _GOOGLE in self._known.card.upstream_model.lower()
        if found is None or not is_google or self.surface is not Surface.CHAT:
            return found
        return with_thoughts_of_total(found, self._usage)

    def _billed(self, outcome: Outcome) -> Bill:
        own = bill(outcome, self._known, self._seen, self._policy)
        stated_usd = reported_cost(self._usage)
        return own if stated_usd is None else stated_bill(own, stated_usd, is_bill=self.is_bill)

    def _close(self, outcome: Outcome, final: Bill) -> None:
        row = self.row
        row.outcome = outcome
        row.settled_at = self._clock()
        row.latency_ms = (time.perf_counter() - self._started) * 1000.0
        row.cost_source = final.source
        row.usage = final.usage
        row.cost_pico = None if final.cost_usd is None else pico(final.cost_usd)
        self.cost_usd = final.cost_usd

    def _note(self, body: Mapping[str, Any]) -> None:
        self._note_part(body, body)
        for name in _INSIDE:
            if isinstance(body.get(name), dict):
                self._note_part(body[name], body)

    def _note_part(self, part: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        if "choices" not in part and (stopped := finish.stop_reason(part)):
            self.row.finish_reasons = stopped
        if "service_tier" in part:
            self._seen.tier = reported_tier(part, self._seen.tier)
        if isinstance(part.get("usage"), dict):
            self._seen.is_partial = body.get("type") == "message_start"
            self._count(part["usage"])
        if "output" in part:
            self._count({WEB_SEARCHES: searches_in(part["output"])})
            self._seen.fees_usd = tool_fees_usd(part["output"])
        if self.row.upstream_id is None and isinstance(part.get("id"), str):
            self.row.upstream_id = part["id"][:_MOST_CHARS]

    def _count(self, usage: object) -> None:
        if isinstance(usage, (dict, Mapping)):  # the first is checked faster
            # cumulative; what a later event does not repeat still holds
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _see(self, said: object) -> None:
        if not isinstance(said, dict):
            return
        if "tool_calls" in said:
            for call in _dicts(said["tool_calls"]):
                self._tell_call(call.get("id"))
        n_bytes = _text_bytes(said)
        if n_bytes > 0:
            self._seen.deltas += 1
            self._seen.text_bytes += n_bytes
            if not (self._has_thoughts or _THOUGHTS.isdisjoint(said)):
                self._has_thoughts = any(said.get(name) for name in _THOUGHTS)

    def _see_text(self, text: object) -> None:
        if text.__class__ is str and text:
            seen = self._seen
            seen.deltas += 1
            seen.text_bytes += _n_bytes(text)

    def _note_call(self, part: Mapping[str, Any]) -> None:
        """Notes a call in a block of the Messages API or in an item of the Responses API."""
        name = part.get("call_id")
        if name is None and part.get("type") in _NAMED_BY_ID:
            name = part.get("id")
        self._tell_call(name)

    def _tell_call(self, name: object) -> None:
        if self.on_call is not None and isinstance(name, str) and name:
            self.on_call(name)


# Calls whose results name them so.
_NAMED_BY_ID: Final = ("tool_use", "local_shell_call")
# Strings in a message or delta that are not billed.
_NO_OUTPUT: Final = frozenset({"role", "type", "id", "signature"})
_THOUGHTS: Final = frozenset({"reasoning_content", "reasoning", "thinking"})


def _dicts(items: object) -> list[dict[str, Any]]:
    if items.__class__ is list and len(items) == 1 and items[0].__class__ is dict:
        return items
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _n_bytes(text: str) -> int:
    return len(text if text.isascii() else text.encode("utf-8", "surrogatepass"))


def _text_bytes(said: Mapping[str, Any]) -> int:
    """The UTF-8 bytes of the text in a message or delta, including tool calls and reasoning."""
    total = 0
    for name, value in said.items():
        if isinstance(value, str) and name not in _NO_OUTPUT:
            total += _n_bytes(value)
    if "tool_calls" not in said:
        return total
    for call in _dicts(said["tool_calls"]):
        function = call.get("function")
        if isinstance(function, dict):
            total += sum(len(text) for text in function.values() if isinstance(text, str))
    return total
