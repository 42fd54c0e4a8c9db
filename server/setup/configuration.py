"""Writes a first configuration, with a comment on every choice that it makes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.config.settings import ModelSettings
from server.endpoints.decision_json import plain
from server.setup.found import USUAL_INPUT_TOKENS, Found, FoundModel
from server.setup.suggesting import Rule, Suggestion
from server.setup.trying import Tried

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
# Whatever a provider calls its models, each line stays one line: a comment must not end in the
# middle of a name, whose rest would be configuration.
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Words that YAML reads as something other than text.
_NOT_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user has chosen. usd_per_win: what a win is worth; None: nothing is weighed. rule:
    what that chooses on a usual request; None where no model has a price. Budgets in USD, None for
    none: request_usd of a request that brings none, daily_usd of all requests in any 24 hours."""

    rule: Rule | None
    usd_per_win: Decimal | None
    request_usd: Decimal | None
    daily_usd: Decimal | None


def configuration(
    path: str,
    tried: Sequence[Tried],
    found: Found,
    suggestion: Suggestion | None,
    choices: Choices,
    today: date,
) -> str:
    """The text of the configuration. path: where it will be, for its comments."""
    lines = [
        f"# Written by `p2l-router init` on {today}. To serve it:",
        f"#     p2l-router serve --config {path}",
        f"# `p2l-router check --config {path}` reads it again; docs/configuration.md explains",
        "# every key. A # in the first column hides an example: take it away to use the line.",
        *_providers(tried, found),
        *_models(found),
        "# Models that clients ask for by themselves are routed where no provider here has them.",
        'aliases: {"claude-*": p2l, "gpt-*": p2l}',
        *_routing(suggestion, choices),
        "auth:",
        "  # Without a key the gateway answers this machine only. `p2l-router keys create NAME`",
        "  # makes keys in its database; a key of the configuration is read from a variable:",
        "  keys: []",
        "#    - {name: me, key_env: MY_ROUTER_KEY}",
        "#    - {name: admin, key_env: P2L_ADMIN_KEY, admin: true}",
    ]
    return "".join(f"{_BREAKS.sub(' ', line)}\n" for line in lines)


def _providers(tried: Sequence[Tried], found: Found) -> Iterator[str]:
    yield "providers:"
    for one in tried:
        name, section = one.candidate.name, dict(one.candidate.section)
        if one.problem is not None:
            yield f"  # Left out: {_one_line(one.problem)}."
            yield f"#  {_scalar(name)}: {_flow(section)}"
            continue
        own = [m for m in found.models if m.card.provider == name]
        if found.settings.providers[name].models == "auto":
            section["models"] = "auto"
        yield f"  # {_one_line(one.said)}{_used(one, is_auto='models' in section)}"
        yield from (f"  #   {_priced(model)}" for model in own[:_SHOWN])
        yield f"  {_scalar(name)}: {_flow(section)}"


def _used(tried: Tried, *, is_auto: bool) -> str:
    if tried.candidate.is_sandbox:
        return ". As if it had:"
    if is_auto:
        return "; the list is read again every day. Used now:"
    return "; those to use stand under models:"


def _models(found: Found) -> Iterator[str]:
    if not found.explicit:
        example = next((m.card for m in found.models), None)
        yield "# To choose models yourself, take `models: auto` away above and name them here:"
        yield "#models:"
        if example is not None:
            yield f"#  {_scalar(example.name)}: {{provider: {_scalar(example.provider)}}}"
        return
    yield "models:"
    for name, model in found.explicit.items():
        yield f"  {_scalar(name)}: {_flow(_model(model))}"
    for provider, names in found.left_out.items():
        yield f"  # Also in the list of {provider}; give the price of those that you want to use:"
        for name in names[:_SHOWN]:
            own = f"provider: {_scalar(provider)}, input_usd_per_mtok: 0, output_usd_per_mtok: 0"
            yield f"#  {_scalar(name)}: {{{own}}}"


def _model(model: ModelSettings) -> dict[str, Any]:
    """Its keys in the configuration: those that were set."""
    written = {"provider", "upstream_model", "input_usd_per_mtok", "output_usd_per_mtok"}
    return model.model_dump(exclude_none=True, include=written)


def _routing(suggestion: Suggestion | None, choices: Choices) -> Iterator[str]:
    yield "routing:"
    yield from _worth(suggestion, choices)
    yield "  # The mean cost of a request that brings no X-Cost-Budget. A long prompt needs more"
    yield "  # than a short one, and a budget below the cost of the cheapest model is an error."
    budget = choices.request_usd
    yield "#  budget_usd: 0.02" if budget is None else f"  budget_usd: {plain(budget)}"
    yield "  # All requests together, in any 24 hours. The router makes it last: a win is worth"
    yield "  # less while spending is ahead of plan. A request that does not fit is a 429."
    daily = choices.daily_usd
    hidden = "#" if daily is None else " "
    yield f"{hidden} window_budgets:"
    yield f"{hidden}   - {{amount_usd: {plain(daily or Decimal(5))}, window_s: 86400}}"
    yield "  # All requests of one job of an agent together."
    yield "#  sessions: {budget_usd: 1}"
    yield "  # Other rules for some requests: asked for as model p2l:NAME."
    yield "  profiles:"
    if suggestion is not None and suggestion.thrifty is not None:
        rule = suggestion.thrifty
        yield f"    # {_chooses(rule)}."
        yield f"    thrifty: {{usd_per_win: {plain(rule.usd_per_win or Decimal(0))}}}"
    yield "    # The best model that the budgets allow, whatever it costs."
    yield "    best: {usd_per_win: null}"


def _worth(suggestion: Suggestion | None, choices: Choices) -> Iterator[str]:
    yield "  # What a certain win is worth in USD: a dearer model must earn its additional cost."
    yield "  # Without it and without a budget the best model is always taken: nothing is saved."
    rule, value = choices.rule, choices.usd_per_win
    if rule is not None and suggestion is not None:
        yield from _compared(suggestion, rule)
    yield "#  usd_per_win: 0.02" if value is None else f"  usd_per_win: {plain(value)}"


def _compared(suggestion: Suggestion, rule: Rule) -> Iterator[str]:
    yield f"  # On a usual request ({USUAL_INPUT_TOKENS:,} tokens of input) this chooses"
    yield f"  # {_chooses(rule)}."
    if rule.model != suggestion.best.model:
        yield f"  # Always the best: {_chooses(suggestion.best)}."


def _chooses(rule: Rule) -> str:
    return (
        f"{rule.model}, win rate {rule.win_rate:.0%}, {per_thousand(rule.cost_usd)} USD per 1,000"
        " requests"
    )


def per_thousand(cost_usd: Decimal) -> str:
    """The cost of a thousand such requests, to three digits."""
    return plain(Decimal(f"{float(cost_usd * 1000):.3g}"))


def _priced(model: FoundModel) -> str:
    return f"{model.card.name}: {price(model)} USD per million tokens"


def price(model: FoundModel) -> str:
    """Its price in words."""
    prices = model.card.prices
    if prices is None:
        return "unknown"
    return f"{plain(prices.input_usd_per_mtok)} in, {plain(prices.output_usd_per_mtok)} out"


def _flow(section: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in section.items()) + "}"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value)


def _one_line(text: str) -> str:
    """A message of a provider or a library as part of a comment."""
    return " ".join(text.split())[:200].rstrip(".")
