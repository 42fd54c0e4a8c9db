"""The cost of a request in USD: expected, worst-case and actual. All amounts are exact decimals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from decimal import Decimal
from typing import Final, NamedTuple

from router.catalog import ModelCard, Prices
from router.record import record

MTOK: Final = Decimal(1_000_000)
_MICRO: Final = Decimal("1E-6")
_NANO: Final = Decimal("1E-9")
# The length of an answer where neither the checkpoint nor the catalogue knows it.
DEFAULT_EXPECTED_OUTPUT_TOKENS: Final = 300
# An answer cut at fewer tokens than this is of little use.
MIN_HARD_OUTPUT_TOKENS: Final = 256
# A caller's cap is lowered no further than to this where the model's thoughts count towards it.
LEAST_OF_THINKERS: Final = 4_096
# The output cap under a hard budget where nothing else limits the output: 2^20 tokens.
_NO_LIMIT: Final = 1 << 20
# From this lifetime on, writing to the cache has the price of one-hour writes.
_AN_HOUR_S: Final = 3_600


@record(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """What a request requires of a model; lengths are in tokens.

    input_tokens: an estimate. input_tokens_upper_bound: never below the true count.
    max_output_tokens: the caller's own cap. n: the number of answers. needs: the capabilities
    required. tier: the service tier asked for, None for the normal one. other_tiers: catalogue name
    -> the tier that its provider is asked for instead. thinking_tokens: catalogue name -> the part
    of the output cap that the model spends on thinking before it answers; the cap must be above it.
    thinkers: the models that think unasked, where the caller's own cap may be lowered to what can
    be paid; None: the cap is kept.
    """

    input_tokens: int
    input_tokens_upper_bound: int
    max_output_tokens: int | None = None
    n: int = 1
    needs: frozenset[str] = frozenset()
    tier: str | None = None
    other_tiers: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    thinking_tokens: Mapping[str, int] = field(default_factory=dict, hash=False)
    thinkers: tuple[str, ...] | None = None

    def tier_at(self, model: str) -> str | None:
        """The tier that the model's provider is asked for. model: its name in the catalogue."""
        return self.other_tiers.get(model, self.tier)


@record(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens that an upstream reports.

    The detailed counts are disjoint parts of prompt_tokens and completion_tokens.
    cache_write_1h_tokens: written to a cache that is kept for one hour, where that has its own
    price. web_searches: the number of searches that the provider ran, each for a fee.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    web_searches: int = 0


class Estimate(NamedTuple):
    """The expected output and cost of a request.

    cost_usd: None where the price is unknown. warm_usd: the cost of a later request of the same
    job, which finds this one's whole input in the provider's cache; None where that is the same.
    """

    output_tokens: float
    cost_usd: Decimal | None
    warm_usd: Decimal | None = None

    def mean_usd(self, first_share: Decimal) -> Decimal | None:
        """The mean cost of this request and the later ones. first_share: 1 / (R + 1), where R later
        ones are expected."""
        first, warm = self.cost_usd, self.warm_usd
        return first if first is None or warm is None else warm + (first - warm) * first_share


def estimate(
    card: ModelCard,
    shape: RequestShape,
    predicted: float | None,
    *,
    input_tokens: int | None = None,
    cached_tokens: int = 0,
    output_cap: int | None = None,
    thought_tokens: float = 0.0,
    factor: float = 1.0,
    kept_s: int = 0,
) -> Estimate:
    """Returns the expected tokens of one answer, and the expected cost of the input and n answers.

    predicted: the checkpoint's prediction of the output tokens; without one the card's number
    counts, else the default. The result is capped and rounded to a thousandth of a token; from
    there on the arithmetic is exact. input_tokens: counted with this model's own tokenizer, by
    default the shape's. cached_tokens: the part of them expected to be in the provider's cache.
    output_cap: a cap that will be sent along, besides the shape's and the card's. thought_tokens:
    thinking on top of the predicted answer. factor: multiplies the sum of both. kept_s: for how
    many seconds the provider will keep the input in its cache, so that what it has not cached yet
    costs the price of writing there; 0 where it caches nothing.
    """
    if predicted is not None and math.isfinite(predicted):
        expected = max(0.0, predicted)
    else:
        known = card.expected_output_tokens
        expected = DEFAULT_EXPECTED_OUTPUT_TOKENS if known is None else known
    expected = (expected + thought_tokens) * factor
    for cap in (shape.max_output_tokens, card.max_output_tokens, output_cap):
        if cap is not None and cap < expected:
            expected = cap
    thousandths = round(expected * 1000)
    n_input = shape.input_tokens if input_tokens is None else input_tokens
    prices = card.prices_at(shape.tier_at(card.name), n_input)
    if prices is None:
        return Estimate(thousandths / 1000, None)
    per_mtok = n_input * prices.input_usd_per_mtok
    if cached_tokens > 0 and prices.cached_input_usd_per_mtok is not None:
        saved = prices.input_usd_per_mtok - prices.cached_input_usd_per_mtok
        per_mtok -= min(cached_tokens, n_input) * saved
    rest_usd = thousandths * shape.n * prices.output_usd_per_mtok * _NANO + prices.request_usd
    if kept_s == 0:
        return Estimate(thousandths / 1000, per_mtok * _MICRO + rest_usd)
    if prices.cache_write_usd_per_mtok is not None:
        written = n_input - min(cached_tokens, n_input)
        per_mtok += written * (_writing(prices, kept_s) - prices.input_usd_per_mtok)
    cost_usd = per_mtok * _MICRO + rest_usd
    if prices.cached_input_usd_per_mtok is None:
        return Estimate(thousandths / 1000, cost_usd)
    warm_usd = n_input * prices.cached_input_usd_per_mtok * _MICRO + rest_usd
    return Estimate(thousandths / 1000, cost_usd, warm_usd if warm_usd < cost_usd else None)


def _writing(prices: Prices, kept_s: int) -> Decimal:
    """What a token that is written to the cache costs in USD per million."""
    price, hour = prices.cache_write_usd_per_mtok, prices.cache_write_1h_usd_per_mtok
    if hour is not None and kept_s >= _AN_HOUR_S:
        price = hour
    return prices.input_usd_per_mtok if price is None else price


def expected_cost_usd(
    card: ModelCard, shape: RequestShape, predicted: float | None
) -> Decimal | None:
    """The expected cost in USD; None where the price is unknown."""
    return estimate(card, shape, predicted).cost_usd


class WorstCase(NamedTuple):
    """The highest possible cost of a request, as a function of its output cap.

    input_usd is the cost of the upper bound of the input, usd_per_token that of each token of the
    cap. Both are for n answers, at the highest price of any kind of token.
    """

    input_usd: Decimal
    usd_per_token: Decimal

    def at(self, output_cap: int) -> Decimal:
        """The cost in USD if each answer has output_cap tokens."""
        return self.input_usd + output_cap * self.usd_per_token


def worst_case(card: ModelCard, shape: RequestShape) -> WorstCase | None:
    """Returns the worst case; None where the price is unknown."""
    prices = card.worst_prices_at(shape.tier_at(card.name), shape.input_tokens_upper_bound)
    if prices is None:
        return None
    bound = shape.input_tokens_upper_bound * shape.n * prices.dearest_input_usd_per_mtok
    per_token = shape.n * prices.dearest_output_usd_per_mtok / MTOK
    return WorstCase(bound / MTOK + prices.request_usd, per_token)


def worst_case_cost_usd(card: ModelCard, shape: RequestShape, output_cap: int) -> Decimal | None:
    """The highest cost in USD with answers of output_cap tokens; None where the price is unknown.

    Input and output are both counted n times, each at the highest price of any kind of token.
    """
    worst = worst_case(card, shape)
    return None if worst is None else worst.at(output_cap)


def unbounded_cap(card: ModelCard, shape: RequestShape) -> int:
    """The output cap in tokens that applies where no budget lowers it."""
    own, most = shape.max_output_tokens, card.max_output_tokens
    if own is not None:
        return own if most is None else min(own, most)
    return (card.context_window or _NO_LIMIT) if most is None else most


def largest_output_cap(card: ModelCard, shape: RequestShape, budget_usd: Decimal) -> int | None:
    """The largest output cap in tokens whose worst case fits the budget; None: not eligible.

    A cap of the caller's own is kept, unless shape.thinkers says that it may be lowered. Otherwise
    the cap is at least MIN_HARD_OUTPUT_TOKENS after any thinking, or the model's own maximum where
    that is smaller.
    """
    worst = worst_case(card, shape)
    if worst is None:
        return None
    floor = least_hard_cap(card, shape)
    per_token = worst.usd_per_token
    left = budget_usd - worst.input_usd
    if floor * per_token > left:
        return None
    if shape.max_output_tokens is None:
        ceiling = card.max_output_tokens or card.context_window or _NO_LIMIT
    elif shape.thinkers is None:
        return floor
    else:
        ceiling = unbounded_cap(card, shape)
    if ceiling * per_token <= left:
        return max(floor, ceiling)
    return max(floor, int(left // per_token))


def least_hard_cap(card: ModelCard, shape: RequestShape) -> int:
    """The smallest output cap in tokens with which a request may be sent under a hard budget."""
    ceiling = card.max_output_tokens
    own, thinks = shape.max_output_tokens, shape.thinking_tokens.get(card.name, 0)
    wanted = MIN_HARD_OUTPUT_TOKENS + thinks
    if own is not None and shape.thinkers is None:
        wanted = own
    elif own is not None and shape.thinkers is not None:
        if thinks > 0 or card.name in shape.thinkers:
            wanted = max(wanted, LEAST_OF_THINKERS)
        wanted = min(own, wanted)
    return wanted if ceiling is None else min(wanted, ceiling)


def actual_cost_usd(card: ModelCard, usage: Usage, tier: str | None = None) -> Decimal | None:
    """The cost in USD of reported usage in a service tier, including the fees of web searches.

    Each kind of token is charged at its own price. None where a price is unknown.
    """
    prices = card.prices_at(tier, usage.prompt_tokens)
    if prices is None:
        return None
    tokens_usd = (_input_usd(prices, usage) + _output_cost_usd(prices, usage)) / MTOK
    if usage.web_searches > 0:
        if card.search_usd is None:
            return None
        tokens_usd += usage.web_searches * card.search_usd
    return tokens_usd + prices.request_usd


def _input_usd(prices: Prices, usage: Usage) -> Decimal:
    written, written_1h = prices.cache_write_usd_per_mtok, prices.cache_write_1h_usd_per_mtok
    parts = (
        (usage.cached_tokens, prices.cached_input_usd_per_mtok),
        (usage.cache_write_tokens, written),
        (usage.cache_write_1h_tokens, written if written_1h is None else written_1h),
        (usage.audio_input_tokens, prices.audio_input_usd_per_mtok),
    )
    return _by_kind(usage.prompt_tokens, prices.input_usd_per_mtok, parts)


def _output_cost_usd(prices: Prices, usage: Usage) -> Decimal:
    parts = (
        (usage.reasoning_tokens, prices.reasoning_usd_per_mtok),
        (usage.audio_output_tokens, prices.audio_output_usd_per_mtok),
    )
    return _by_kind(usage.completion_tokens, prices.output_usd_per_mtok, parts)


def _by_kind(n_tokens: int, price: Decimal, parts: Sequence[tuple[int, Decimal | None]]) -> Decimal:
    """Charges each part of the tokens at its own price and the rest at the common price. No token
    is counted twice, whatever the upstream reports."""
    left, total = n_tokens, Decimal(0)
    for tokens, own_price in parts:
        if tokens <= 0:
            continue
        part = min(tokens, left)
        left -= part
        total += part * (price if own_price is None else own_price)
    return total + left * price
