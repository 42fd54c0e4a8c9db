"""Reads the usage that an upstream reports, with checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from router.cost import Usage
from server.wire.shapes import objects
from server.wire.surface import Surface

# Our own field in a usage object, for the number of searches in an answer's items.
WEB_SEARCHES: Final = "p2l_web_searches"
_LONG: Final = "ephemeral_1h_input_tokens"
_SUMMED: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
# From here on, a float does not distinguish one number from the next.
_MOST: Final = 2**53
# More tokens than any answer has: such a count is not believed.
_MOST_TOKENS: Final = 2**31
# https://developers.openai.com/api/docs/pricing, read on 2026-11-29
_FILE_SEARCH_USD: Final = Decimal("0.0025")
_CONTAINER_USD: Final = Decimal("0.03")
# xAI states costs in ticks.
_TICKS_PER_USD: Final = 10**10
_STATED: Final = ("cost", "cost_details", "cost_in_usd_ticks", "is_byok")


def parse_usage(usage: object, surface: Surface = Surface.CHAT) -> Usage | None:
    """A usage object in the surface's form; None where it is absent or has no counts."""
    if not isinstance(usage, dict):
        return None
    if surface is Surface.MESSAGES:
        return _messages(usage)
    if surface in (Surface.RESPONSES, Surface.COMPACT):
        return _openai(usage, "input_tokens", "output_tokens")
    return _openai(usage, "prompt_tokens", "completion_tokens")


def with_thoughts_of_total(found: Usage, usage: Mapping[str, Any]) -> Usage:
    """The same with the tokens that only the total has, as thoughts: Google's endpoint in OpenAI's
    form counts them nowhere else. usage: that `found` was read from, of chat completions."""
    if found.reasoning_tokens > 0 or found.prompt_tokens == 0 or found.completion_tokens == 0:
        return found
    known = found.prompt_tokens + found.completion_tokens
    hidden = max(0, count(usage, "total_tokens") - known)
    output = found.completion_tokens + hidden
    return replace(found, completion_tokens=output, reasoning_tokens=hidden)


def reported_cost(usage: object) -> Decimal | None:
    """The cost in USD that a usage object states; None where it states none, or an impossible one.

    With the operator's own key at the vendor, OpenRouter charges a fee and also states what the
    vendor charges: both are paid.
    """
    if not isinstance(usage, dict):
        return None
    ticks = _amount(usage.get("cost_in_usd_ticks"))
    if ticks is not None:
        return ticks / _TICKS_PER_USD
    cost = usage.get("cost")
    # Perplexity states its parts, the fee of the request among them, and their total.
    cost_usd = _amount(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if cost_usd is not None and usage.get("is_byok") is True:
        cost_usd += _amount(_details(usage, "cost_details").get("upstream_inference_cost")) or 0
    return cost_usd


def stated(usage: object) -> dict[str, Any]:
    """The fields by which a usage object states its cost, for the same usage in another form."""
    if not isinstance(usage, dict):
        return {}
    return {name: usage[name] for name in _STATED if name in usage}


def _amount(value: object) -> Decimal | None:
    """A JSON number that can be an amount of money."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
        return None
    return Decimal(repr(value))


def openai_usage(usage: Usage) -> dict[str, Any]:
    """The usage in the form of OpenAI's chat completions, for answers in other forms."""
    prompt = {
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "audio_tokens": usage.audio_input_tokens,
    }
    completion = {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.audio_output_tokens,
    }
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": completion,
    }


def _openai(usage: Mapping[str, Any], taken: str, given: str) -> Usage | None:
    prompt_tokens, completion_tokens = count(usage, taken), count(usage, given)
    if prompt_tokens == 0 and completion_tokens == 0:
        return None
    prompt = _details(usage, f"{taken}_details")
    completion = _details(usage, f"{given}_details")
    cached = count(prompt, "cached_tokens")
    if cached == 0:
        # DeepSeek's own name for it came first; Moonshot has OpenAI's name, but outside the
        # details.
        cached = count(usage, "prompt_cache_hit_tokens") or count(usage, "cached_tokens")
    searches = count(usage, WEB_SEARCHES)
    if not prompt and not completion:
        return Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=cached,
            web_searches=searches,
        )
    thoughts = count(completion, "reasoning_tokens")
    beside = prompt_tokens + completion_tokens + thoughts
    if thoughts > 0 and count(usage, "total_tokens") == beside:
        # xAI counts thoughts in addition to the completion.
        completion_tokens += thoughts
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=cached,
        cache_write_tokens=count(prompt, "cache_write_tokens"),
        cache_write_1h_tokens=count(prompt, "cache_write_1h_tokens"),
        reasoning_tokens=thoughts,
        audio_input_tokens=count(prompt, "audio_tokens"),
        audio_output_tokens=count(completion, "audio_tokens"),
        web_searches=searches,
    )


def _messages(usage: Mapping[str, Any]) -> Usage | None:
    """Anthropic's usage: its input_tokens exclude tokens read from the cache or written to it. The
    tokens read for compacting the conversation are counted separately, in `iterations`."""
    usage = _with_iterations(usage)
    fresh, output = count(usage, "input_tokens"), count(usage, "output_tokens")
    read = count(usage, "cache_read_input_tokens")
    if fresh + output == 0 and not is_readable(usage, "input_tokens"):
        return None
    long = count(_details(usage, "cache_creation"), _LONG)
    written = max(count(usage, "cache_creation_input_tokens"), long)
    if fresh + read + written + output == 0:
        return None
    # Without the fresh tokens, those of the cache alone would look like the whole prompt.
    prompt = fresh + read + written if is_readable(usage, "input_tokens") else 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=output,
        cached_tokens=read,
        cache_write_tokens=written - long,
        cache_write_1h_tokens=long,
        reasoning_tokens=count(_details(usage, "output_tokens_details"), "thinking_tokens"),
        web_searches=count(_details(usage, "server_tool_use"), "web_search_requests"),
    )


def _with_iterations(usage: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sum of all passes of the model, where there were several; never less than the counts
    beside them."""
    passes = objects(usage.get("iterations"))
    if len(passes) < 2:
        return usage
    sums = {name: sum(count(one, name) for one in passes) for name in _SUMMED}
    long = sum(count(_details(one, "cache_creation"), _LONG) for one in passes)
    merged = {name: max(tokens, count(usage, name)) for name, tokens in sums.items()}
    creation = {_LONG: max(long, count(_details(usage, "cache_creation"), _LONG))}
    return {**usage, **merged, "cache_creation": creation}


def ends_chat(choices: Any, usage: object) -> bool:
    """Whether a chat completion has ended with a chunk of these choices and usage: some providers
    tell the input before they answer, and others leave the connection open after the end."""
    if not choices:
        return isinstance(usage, dict) and usage.get("completion_tokens") not in (None, 0)
    return all(isinstance(one, dict) and one.get("finish_reason") for one in choices)


def searches_in(output: object) -> int:
    """The number of web searches among the items of a Responses answer: each has a fee. Opening a
    page that was found, and searching in it, has none."""
    return sum(_is_search(item) for item in objects(output))


def tool_fees_usd(output: object) -> Decimal:
    """The fees in USD of OpenAI's other tools among the items of a Responses answer: each search in
    files, and each container in which code runs."""
    items = objects(output)
    searches = len([item for item in items if item.get("type") == "file_search_call"])
    containers = {
        str(item.get("container_id") or item.get("id"))
        for item in items
        if item.get("type") == "code_interpreter_call"
    }
    return searches * _FILE_SEARCH_USD + len(containers) * _CONTAINER_USD


def _is_search(item: Mapping[str, Any]) -> bool:
    action = item.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    return item.get("type") == "web_search_call" and kind in (None, "search")


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, dict) else {}


def count(usage: Mapping[str, Any], name: str) -> int:
    """A number of tokens; 0 for anything else."""
    value = usage.get(name)
    if type(value) is int:
        return value if 0 < value < _MOST_TOKENS else 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(0, int(value)) if value == value and abs(value) < _MOST_TOKENS else 0


def is_readable(usage: Mapping[str, Any], name: str) -> bool:
    """Whether a field is absent or a number of tokens: then its count can be added to others."""
    value = usage.get(name)
    if value is None:
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _MOST_TOKENS
