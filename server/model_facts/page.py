"""Generates docs/models.md from the table: `python -m server.model_facts.page > docs/models.md`."""

from __future__ import annotations

from typing import Final

from server.model_facts.book import bundled_book
from server.model_facts.types import ModelFacts

_SHOWN: Final = {
    "openai": (
        "gpt-6.1-sol",
        "gpt-6.1-terra",
        "gpt-6-astra",
        "gpt-6-sol",
        "gpt-6-luna",
        "gpt-5.6-sol",
        "gpt-5.6-terra",
        "gpt-5.6-luna",
        "gpt-5.5",
        "gpt-5.4",
        "gpt-5.2",
        "gpt-5",
        "gpt-4.1",
        "gpt-4o",
        "o3",
    ),
    "groq": ("gpt-oss-120b",),
    "anthropic": (
        "claude-fable-5-2",
        "claude-opus-5-5",
        "claude-sonnet-5-5",
        "claude-haiku-5-5",
        "claude-opus-5",
        "claude-sonnet-5",
        "claude-opus-4-8",
        "claude-opus-4-7",
        "claude-opus-4-6",
        "claude-sonnet-4-6",
        "claude-opus-4-5",
        "claude-sonnet-4-5",
        "claude-haiku-4-5",
    ),
    "google": (
        "gemini-4-argon",
        "gemini-3.8-flash",
        "gemini-3.5-flash-lite",
        "gemini-3.1-pro-preview",
        "gemini-2.5-pro",
        "gemini-2.5-flash",
    ),
    "xai": ("grok-4.7", "grok-4.3"),
    "deepseek": ("deepseek-v4-pro", "deepseek-v4-flash"),
    "moonshot": ("kimi-k3.1-pro", "kimi-k3"),
    "mistral": ("mistral-large-4", "mistral-medium-3-5", "mistral-small-latest"),
    "zai": ("glm-5.3",),
    "alibaba": ("qwen3.8-max",),
}
_HEAD: Final = """# Models

What is known of the models on sale is one table in the product: their limits and prices, what they
refuse, how they think, when they end and what follows them, each part with where it was read and on
which day. A catalogue entry needs no more than the model's name; what the configuration says of a
model goes before the table.

```sh
p2l-router facts gpt-6.1-sol
```

shows all of it (`--json` for programs), `p2l-router facts` the whole table in short. The table is
made from [LiteLLM](https://github.com/BerriAI/litellm)'s map of models and
[genai-prices](https://github.com/pydantic/genai-prices) (both MIT), and from rules by the beginning
of a model's name that were checked by hand against the vendors' SDKs and documents. A model that it
does not have gets the rules of names like its own; one of no known family is refused nothing, and
what is asked of it is passed on.

## Renewing it

A newer version of p2l-router brings a newer table. Between versions, from a file:

    pip download --no-deps litellm
    p2l-router facts --update litellm-*.whl --sha256 ...

prints what was added, removed and changed, and writes the table to
`$XDG_DATA_HOME/p2l-router/facts.json` (default: `~/.local/share`), or to where `facts.path` of the
configuration points. It is used from the next start or reload on, until a version of p2l-router
brings a newer one. The wheel is only read: nothing of it is installed or run. A map of models as
JSON and a table in our own form will do as well.

Prices come from the configuration, else from a table that was renewed so, else from genai-prices
(which knows the days on which prices change, and is kept current by `prices.update`), else from the
bundled table.

## Saying it otherwise

Every cell has a key in `models.NAME` or `models.NAME.facts` ([configuration](configuration.md)):

```yaml
models:
  gpt-6.1-sol:
    provider: openai
    max_output_tokens: 64000
    facts:
      sampling: {temperature: never}
      thinking: {use: always, efforts: [low, high]}
      retirement: {day: 2027-06-30, successor: gpt-7-sol}
```

A reseller's end of a model says nothing of the vendor's own: `facts` shows both. Who serves a model
is told by the host in `base_url`.
"""
_LIMITS: Final = """
## Limits and prices

Tokens; USD per million tokens, in / out, at normal hours and tiers. Longer: above so many tokens of
the prompt, the whole request is dearer.
"""
_RULES: Final = """
## What they refuse

Sampling: temperature, top_p and their like. Tools on chat: function tools on OpenAI's Chat
Completions; `/v1/responses` takes them. Forced: a `tool_choice` that forces a call. Efforts: those
that the model takes. System later: a system message in the middle of a conversation.
"""


_LIMITS_ROW: Final = "| model | at | window | most output | price | longer | ends |"
_RULES_ROW: Final = (
    "| model | thinks | efforts | sampling | tools on chat | forced | system later |"
)
_LINE: Final = "|---" * 7 + "|"


def page() -> str:
    """The page, in Markdown."""
    book = bundled_book()
    shown = [book.facts_of(name, seller) for seller, names in _SHOWN.items() for name in names]
    when = f"\nThe table of {book.as_of}, in part.\n"
    limits = ["| model | at | window | most output | price | longer | ends |", "|---" * 7 + "|"]
    rules = [
        "| model | thinks | efforts | sampling | tools on chat | forced | system later |",
        "|---" * 7 + "|",
    ]
    limits += [_limits(facts) for facts in shown]
    rules += [_rules(facts) for facts in shown]
    return (
        _HEAD + when + _LIMITS + "\n" + "\n".join(limits) + "\n" + _RULES + "\n" + "\n".join(rules)
    )


def _limits(facts: ModelFacts) -> str:
    ends = facts.retirement
    cells = [
        facts.name,
        facts.seller or "",
        _tokens(facts.limits.context_window),
        _tokens(facts.limits.max_output_tokens),
        *_prices(facts),
        "" if ends is None else f"{ends.on} ({ends.successor or 'no successor named'})",
    ]
    return "| " + " | ".join(cells) + " |"


def _prices(facts: ModelFacts) -> tuple[str, str]:
    if facts.prices is None:
        return "", ""
    rates = facts.prices.normal
    base = f"{rates.base.input_usd_per_mtok:f} / {rates.base.output_usd_per_mtok:f}"
    steps = (
        f"{step.above_tokens:,}: {step.prices.input_usd_per_mtok:f}"
        f" / {step.prices.output_usd_per_mtok:f}"
        for step in rates.long_prompts
    )
    return base, "; ".join(steps)


def _rules(facts: ModelFacts) -> str:
    thinking, tools = facts.thinking, facts.tools
    taken = thinking.efforts
    efforts = "unknown" if taken is None else ", ".join(taken) or "takes no effort"
    cells = [
        facts.name,
        thinking.use.replace("_", " "),
        efforts,
        _sampling(facts),
        _said(tools.on_chat_completions),
        _said(tools.forced),
        _said(facts.messages.system_later),
    ]
    return "| " + " | ".join(cells) + " |"


def _said(cell: str) -> str:
    return "" if cell in ("ok", "unknown") else cell.replace("_", " ")


def _sampling(facts: ModelFacts) -> str:
    """The refused parameters in words, and when they are refused."""
    sampling = facts.sampling
    if sampling.temperature == "always":
        return "refused"
    if sampling.temperature == "thinking":
        both = "" if sampling.both else "; temperature or top_p, not both"
        return ("refused" if facts.thinking.use == "always" else "refused while it thinks") + both
    refused = [name for name in ("penalties", "logprobs", "stop") if _is_refused(facts, name)]
    return f"{', '.join(refused)} refused" if refused else ""


def _is_refused(facts: ModelFacts, name: str) -> bool:
    return bool(getattr(facts.sampling, name) != "never")


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


if __name__ == "__main__":
    print(page())
