"""Generates docs/adapting.md by running the functions that adapt: `python -m
server.adapting.page`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from server.adapting.chat import adapt_chat
from server.adapting.draft import Adapted
from server.model_facts.book import bundled_book
from server.model_facts.types import ModelFacts

SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("gpt-6.1-sol", "gpt-6-luna", "gpt-5.6-terra", "gpt-4.1"),
    "anthropic": (
        "claude-opus-5-5",
        "claude-sonnet-5-5",
        "claude-haiku-5-5",
        "claude-sonnet-4-6",
        "claude-haiku-4-5",
    ),
    "google": ("gemini-3.8-flash", "gemini-3.1-pro-preview", "gemini-2.5-flash"),
    "xai": ("grok-4.7",),
    "deepseek": ("deepseek-v4-pro", "deepseek-v4-flash"),
    "moonshot": ("kimi-k3.1-pro",),
    "mistral": ("mistral-large-4",),
    "zai": ("glm-5.3",),
    "alibaba": ("qwen3.8-max",),
}
_MESSAGES: Final = ({"role": "user", "content": "Hello"},)
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}, "why": {"type": "string"}},
    "required": ["n"],
}
_TOOLS: Final = (
    {"type": "function", "function": {"name": "f", "parameters": {**_SCHEMA, "anyOf": [{}]}}},
)
_FORMAT: Final[Mapping[str, Any]] = {
    "type": "json_schema",
    "json_schema": {"name": "n", "strict": True, "schema": _SCHEMA},
}
_CAP_TOKENS: Final = 128_000
# The columns: the title, and the fields of the request.
_WISHES: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("`temperature: 0.2`", {"temperature": 0.2}),
    ("and `top_p: 0.9`", {"temperature": 0.2, "top_p": 0.9}),
    ("penalties", {"presence_penalty": 0.5}),
    ("`logprobs`", {"logprobs": True}),
    ("`stop`", {"stop": ["END"]}),
    ("a cap of 128,000", {"max_tokens": _CAP_TOKENS}),
)
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_HEAD: Final = """# Adapting

A caller need not know which model will answer. At each attempt, and so at each fallback, the
request is put into the words of the model that is asked: what the model refuses is said otherwise
or left out, by what is known of it ([models](models.md)). What is left out is named in the response
header `x-p2l-left-out-fields`. What a caller truly needs (tools, images, a JSON schema, a
forced call) is never left out: a model that cannot do it is not asked, and the reason names it.

The tables are made by the functions that adapt requests, for chat completions. After them the
provider's dialect has its say ([dialects](dialects.md)). "As asked" means that the model takes it.
"""
_EFFORT_HEAD: Final = """
## Efforts

What a `reasoning_effort` becomes. "Left out": the model thinks as it does by itself. OpenAI takes
`max` on its Responses API alone, which requests with tools go to.
"""
_NEEDS_HEAD: Final = """
## Tools and schemas

Forced: a `tool_choice` that forces a call, beside an effort of low. The tool's schema has an
`anyOf` at its root; that of the answer is strict, has a `minimum`, does not require all of its
properties and is open to others. Both at once: tools, and an answer by a schema.
"""


def page() -> str:
    """The page, in Markdown."""
    shown = [bundled_book().facts_of(name, at) for at, names in SHOWN.items() for name in names]
    wishes = _table(
        [head for head, _ in _WISHES],
        {facts.name: [_wish(facts, asked) for _, asked in _WISHES] for facts in shown},
    )
    efforts = _table(
        [f"`{effort}`" for effort in _EFFORTS],
        {facts.name: [_effort(facts, effort) for effort in _EFFORTS] for facts in shown},
    )
    needs = _table(
        ["a forced call", "the tool's schema", "the answer's schema", "both at once"],
        {facts.name: list(_needs(facts)) for facts in shown},
    )
    return "\n".join((_HEAD, *wishes, _EFFORT_HEAD, *efforts, _NEEDS_HEAD, *needs))


def _table(heads: list[str], rows: Mapping[str, list[str]]) -> Iterator[str]:
    yield _line(["model", *heads])
    yield "|---" * (len(heads) + 1) + "|"
    for name, cells in rows.items():
        yield _line([name, *cells])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _adapted(facts: ModelFacts, asked: Mapping[str, Any]) -> Adapted:
    return adapt_chat({"messages": list(_MESSAGES), **asked}, facts)


def _wish(facts: ModelFacts, asked: Mapping[str, Any]) -> str:
    adapted = _adapted(facts, asked)
    if set(adapted.left_out) == set(asked):
        return "left out"
    if adapted.left_out:
        return f"`{'`, `'.join(adapted.left_out)}` left out"
    name = next(iter(asked))
    sent = adapted.body[name]
    return "as asked" if sent == asked[name] else f"{sent:,}"


def _effort(facts: ModelFacts, effort: str) -> str:
    body = _adapted(facts, {"reasoning_effort": effort}).body
    if "reasoning_effort" in body:
        sent = str(body["reasoning_effort"])
        return "as asked" if sent == effort else sent
    if "thinking_budget" in body:
        return f"`thinking_budget: {body['thinking_budget']}`"
    if "enable_thinking" in body:
        return "`enable_thinking: false`"
    return "`thinking: disabled`" if "thinking" in body else "left out"


def _needs(facts: ModelFacts) -> Iterator[str]:
    forced = _adapted(
        facts, {"tools": list(_TOOLS), "tool_choice": "required", "reasoning_effort": "low"}
    )
    if forced.reason is not None:
        yield "cannot"
    else:
        calm = forced.body.get("reasoning_effort") in (None, "none")
        thinks = facts.thinking.use != "never"
        yield "without thinking" if calm and thinks else "as asked"
    yield _words(_adapted(facts, {"tools": list(_TOOLS)}), "tools.parameters.")
    if "json_schema" in facts.lacks:
        yield "cannot"
        yield "cannot"
        return
    yield _words(_adapted(facts, {"response_format": _FORMAT}), "response_format.")
    both = _adapted(facts, {"tools": list(_TOOLS), "response_format": _FORMAT})
    yield "yes" if both.reason is None else "cannot"


def _words(adapted: Adapted, before: str) -> str:
    """The left-out keywords of a schema, by name."""
    gone = [name.removeprefix(before).removeprefix("schema.") for name in adapted.left_out]
    wanted = adapted.body.get("response_format")
    is_closed = isinstance(wanted, Mapping) and _closed(wanted)
    if gone == ["strict"]:
        return "not strict"
    told = [f"without {', '.join(f'`{name}`' for name in gone)}"] if gone else []
    return ", ".join([*told, *(["closed"] if is_closed else [])]) or "as asked"


def _closed(wanted: Mapping[str, Any]) -> bool:
    return "additionalProperties" in wanted["json_schema"]["schema"]


if __name__ == "__main__":
    print(page())
