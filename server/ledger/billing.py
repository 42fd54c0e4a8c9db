"""Computes the cost of an attempt from its outcome and from what the provider reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from router.catalog import ModelCard
from router.cost import RequestShape, Usage, actual_cost_usd
from router.record import record
from server.config.settings.unknown_cost import UnknownCost
from server.ledger.attempt import CostSource, Outcome

# A provider does not bill a request that it never accepted.
_UNBILLED: Final = frozenset({Outcome.REJECTED, Outcome.RATE_LIMITED, Outcome.UNAVAILABLE})
# The attempt was begun, and nobody waited for its result.
_ABANDONED: Final = frozenset({Outcome.TIMED_OUT, Outcome.CANCELLED, Outcome.BROKEN})
_BYTES_PER_TOKEN: Final = 4
# The limit per token up to which a stated cost is believed: the most expensive token on sale costs
# 0.0006 USD, and what a provider charges beside tokens (searches, pages that are read) is cents.
_MOST_PER_TOKEN_USD: Final = Decimal("0.002")
_FEES_USD: Final = Decimal(1)


@dataclass(slots=True)
class Seen:
    """What has been read of an answer so far.

    sent: the request may have left this process. taken_on: the provider answered 200, so that even
    a failed attempt may be charged. tier: the service tier: as asked for, until the answer states
    another. served: the model that answered, where it is not the one asked for. is_partial: the
    usage is what a provider reports when its answer begins. unseen: the model has thought, or is
    thinking, and it is unknown how much. fees_usd: of tools other than the web search that the
    provider ran.
    """

    usage: Usage | None = None
    sent: bool = True
    taken_on: bool = False
    deltas: int = 0
    text_bytes: int = 0
    tier: str | None = None
    served: ModelCard | None = None
    is_partial: bool = False
    unseen: bool = False
    fees_usd: Decimal = Decimal(0)

    @property
    def tokens(self) -> int:
        """An estimate of the output tokens: one for each delta, more where the deltas are long."""
        return max(self.deltas, -(-self.text_bytes // _BYTES_PER_TOKEN))


@record(frozen=True, slots=True, kw_only=True)
class Known:
    """What was known before the attempt. reserved_usd: its worst case in USD; None: price
    unknown."""

    card: ModelCard
    shape: RequestShape
    expected_usd: Decimal | None
    reserved_usd: Decimal | None

    @property
    def tier(self) -> str | None:
        """The service tier that the provider was asked for."""
        return self.shape.tier_at(self.card.name)


@record(frozen=True, slots=True)
class Bill:
    """The bill of an attempt. cost_usd: None where the model's price is unknown. usage: None where
    nothing is billed."""

    cost_usd: Decimal | None
    source: CostSource
    usage: Usage | None


def bill(outcome: Outcome, known: Known, seen: Seen, policy: UnknownCost) -> Bill:
    """The bill by our own prices.

    Reported usage counts, whatever happened afterwards; for an answer that did not end, at least
    what was delivered of it counts. Without reported usage, what was seen counts; without that, or
    where the model may have thought more than was seen, the policy decides.
    """
    if seen.usage is not None:
        usage, source = _completed(seen.usage, known, seen)
        if outcome is not Outcome.ANSWERED and seen.tokens > usage.completion_tokens:
            # A stream reports its input at the beginning, and its output at the end.
            usage, source = replace(usage, completion_tokens=seen.tokens), CostSource.ESTIMATE
        cost_usd = _priced(known, seen, usage)
        if seen.is_partial and outcome in _ABANDONED and (seen.unseen or seen.tokens == 0):
            cost_usd, source = _more(cost_usd, _unknown(known, policy)), CostSource.ESTIMATE
        return Bill(cost_usd, source, usage)
    if not seen.sent or (outcome in _UNBILLED and not seen.taken_on):
        return Bill(Decimal(0), CostSource.NONE, None)
    if outcome is Outcome.ANSWERED or seen.tokens > 0:
        usage = Usage(prompt_tokens=known.shape.input_tokens, completion_tokens=seen.tokens)
        cost_usd = _priced(known, seen, usage)
        if outcome in _ABANDONED and seen.unseen:
            cost_usd = _more(cost_usd, _unknown(known, policy))
        return Bill(cost_usd, CostSource.ESTIMATE, usage)
    return Bill(_unknown(known, policy), CostSource.ESTIMATE, None)


def _completed(usage: Usage, known: Known, seen: Seen) -> tuple[Usage, CostSource]:
    """Reported usage, with estimates for what it does not report, or not as a number. No prompt is
    without tokens, and no text either."""
    estimated: dict[str, int] = {}
    if usage.prompt_tokens == 0:
        estimated["prompt_tokens"] = known.shape.input_tokens
    if usage.completion_tokens == 0 and seen.tokens > 0:
        estimated["completion_tokens"] = seen.tokens
    if not any(estimated.values()):
        return usage, CostSource.USAGE
    return replace(usage, **estimated), CostSource.ESTIMATE


def _priced(known: Known, seen: Seen, usage: Usage) -> Decimal | None:
    cost_usd = actual_cost_usd(known.card, usage, billed_tier(known, seen))
    if cost_usd is not None and known.card.search_usd is not None:
        # A vendor that charges for its tools: those of a server of open models cost nothing.
        cost_usd += seen.fees_usd
    return cost_usd if seen.served is None else _dearer(cost_usd, seen.served, seen, usage)


def stated_bill(own: Bill, stated_usd: Decimal, *, is_bill: bool) -> Bill:
    """The bill of an answer that states its own cost.

    Where the stated cost is the provider's bill, it is booked; elsewhere it is booked where it
    exceeds our own figure. A cost too high for any token price is not believed. own: the bill by
    our own prices. is_bill: whether the provider charges what it states.
    """
    if stated_usd > _FEES_USD + _tokens(own) * _MOST_PER_TOKEN_USD:
        return own
    if is_bill or own.cost_usd is None or stated_usd > own.cost_usd:
        return Bill(stated_usd, CostSource.REPORTED, own.usage)
    return own


def _dearer(own_usd: Decimal | None, served: ModelCard, seen: Seen, usage: Usage) -> Decimal | None:
    """The cost at the price of the model asked for, or of the model that answered where that is
    higher."""
    other_usd = actual_cost_usd(served, usage, seen.tier)
    return _more(own_usd, other_usd)


def _more(one_usd: Decimal | None, other_usd: Decimal | None) -> Decimal | None:
    if one_usd is None or other_usd is None:
        return other_usd if one_usd is None else one_usd
    return max(one_usd, other_usd)


def _tokens(own: Bill) -> int:
    return 0 if own.usage is None else own.usage.prompt_tokens + own.usage.completion_tokens


def billed_tier(known: Known, seen: Seen) -> str | None:
    """The tier that the answer states, else the one asked for; the latter also where the price of
    the stated tier is unknown."""
    return seen.tier if known.card.prices_at(seen.tier) is not None else known.tier


def _unknown(known: Known, policy: UnknownCost) -> Decimal | None:
    if policy is UnknownCost.ZERO:
        return Decimal(0)
    return known.reserved_usd if policy is UnknownCost.WORST else known.expected_usd
