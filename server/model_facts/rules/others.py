"""The rules for models of xAI, DeepSeek, Moonshot, Mistral, Z.ai and Alibaba."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from server.model_facts.rules.family import Family, read
from server.model_facts.types import (
    Caching,
    Capability,
    Effort,
    Sampling,
    Schemas,
    Source,
    Thinking,
    Tools,
)

_XAI_SOURCE: Final = read("pydantic-ai 2.68.0 profiles/grok.py; LiteLLM 1.110.2")
_DEEPSEEK_SOURCE: Final = read(
    "pydantic-ai 2.68.0 providers/deepseek.py; github.com/BerriAI/litellm/pull/37470"
)
_MOONSHOT_SOURCE: Final = read(
    "pydantic-ai 2.68.0 providers/moonshotai.py; LiteLLM 1.110.2; "
    "github.com/HKUDS/nanobot/pull/4967 and github.com/Devin-AXIS/AINO/pull/223"
)
_MISTRAL_SOURCE: Final = read(
    "pydantic-ai 2.68.0 profiles/mistral.py; LiteLLM 1.110.2; "
    "github.com/langchain-ai/langchain/pull/24668"
)
_ZAI_SOURCE: Final = read("pydantic-ai 2.68.0 profiles/zai.py; LiteLLM 1.110.2")
_QWEN_SOURCE: Final = read(
    "github.com/cloudwego/eino/issues/994; github.com/agentscope-ai/agentscope/issues/1608"
)

_CACHING: Final = Caching(kind="automatic")
_NEVER: Final = Thinking(use="never", efforts=())
_TOOLS: Final = Tools(name_pattern="^[a-zA-Z0-9_-]{1,64}$", name_most_characters=64, most=128)
_REASONS: Final[frozenset[Capability]] = frozenset({"reasoning"})


def _efforts(*efforts: Effort, default: Effort | None = None) -> Thinking:
    can_stop = "none" in efforts
    return Thinking(
        use="optional" if default == "none" else "by_default" if can_stop else "always",
        kinds=frozenset({"effort"}),
        off="none" if can_stop else "cannot",
        efforts=efforts,
        default_effort=default,
    )


# -- xAI: reasoning models refuse penalties and stop sequences
_XAI_SAMPLING: Final = Sampling(penalties="thinking", stop="thinking")


def _grok(*beginnings: str, thinking: Thinking) -> Family:
    never = thinking.use == "never"
    return Family(
        beginnings=beginnings,
        vendor="xai",
        source=_XAI_SOURCE,
        sampling=_XAI_SAMPLING,
        thinking=thinking,
        tools=Tools(most=128),
        caching=_CACHING,
        lacks=_REASONS if never else frozenset(),
        capabilities=frozenset() if never else _REASONS,
    )


_ALWAYS_NO_EFFORT: Final = Thinking(use="always", off="cannot", efforts=())
XAI: Final = (
    _grok("grok-4.7", thinking=_efforts("low", "medium", "high", "xhigh")),
    _grok("grok-4.5", "grok-4.6", "grok-build-latest", thinking=_efforts("low", "medium", "high")),
    _grok("grok-4.3", "grok-latest", thinking=_efforts("none", "low", "medium", "high")),
    _grok("grok-4.20-0309-non-reasoning", "grok-4.20-non-reasoning", thinking=_NEVER),
    _grok("grok-4-1-fast-non-reasoning", "grok-4-fast-non-reasoning", thinking=_NEVER),
    _grok("grok-4", "grok-code", "grok-build", thinking=_ALWAYS_NO_EFFORT),
    _grok("grok-3-mini", thinking=_efforts("none", "low", "high")),
    _grok("grok-3", "grok-2", thinking=_NEVER),
)

# -- DeepSeek: the tool calls of a thinking turn are sent back with their thoughts
_DEEPSEEK: Final = Thinking(
    use="by_default",
    kinds=frozenset({"effort"}),
    off="disabled",
    efforts=("low", "high", "max"),
    tool_turns_need_thoughts=True,
)
DEEPSEEK: Final = (
    Family(
        beginnings=("deepseek-v4", "deepseek-flash", "deepseek-pro"),
        vendor="deepseek",
        source=_DEEPSEEK_SOURCE,
        thinking=_DEEPSEEK,
        tools=replace(_TOOLS, forced="not_when_thinking"),
        caching=_CACHING,
        capabilities=frozenset({"tools", "reasoning"}),
    ),
    Family(
        beginnings=("deepseek-reasoner", "deepseek-r1"),
        vendor="deepseek",
        source=_DEEPSEEK_SOURCE,
        thinking=replace(_DEEPSEEK, use="always", off="cannot", efforts=()),
        tools=replace(_TOOLS, forced="refused"),
        caching=_CACHING,
        capabilities=_REASONS,
    ),
    Family(beginnings=("deepseek",), vendor="deepseek", source=_DEEPSEEK_SOURCE, caching=_CACHING),
)

# -- Moonshot: sampling is fixed
_FIXED: Final = Sampling(temperature="always", top_p="always", penalties="always")
_KIMI_TOOLS: Final = replace(_TOOLS, forced="refused")


def _kimi(*beginnings: str, thinking: Thinking, sampling: Sampling = _FIXED) -> Family:
    return Family(
        beginnings=beginnings,
        vendor="moonshot",
        source=_MOONSHOT_SOURCE,
        sampling=sampling,
        thinking=replace(thinking, tool_turns_need_thoughts=thinking.use != "never"),
        tools=_KIMI_TOOLS,
        caching=_CACHING,
    )


MOONSHOT: Final = (
    _kimi("kimi-k3", thinking=_efforts("low", "high", "max")),
    _kimi("kimi-k2.7", "kimi-k2-thinking", "kimi-thinking", thinking=_ALWAYS_NO_EFFORT),
    _kimi("kimi-k2.5", "kimi-k2.6", thinking=Thinking(use="by_default", off="disabled")),
    _kimi("kimi", "moonshot", thinking=_NEVER, sampling=Sampling()),
)

# -- Mistral: ids of nine characters, each used once
_NINE: Final = replace(_TOOLS, id_pattern="^[a-zA-Z0-9]{9}$", id_most_characters=9, ids_unique=True)


def _mistral(*beginnings: str, thinking: Thinking, source: Source = _MISTRAL_SOURCE) -> Family:
    return Family(
        beginnings=beginnings,
        vendor="mistral",
        source=source,
        sampling=Sampling(logprobs="always", logit_bias="always", most_temperature=1.5),
        thinking=thinking,
        tools=_NINE,
        caching=_CACHING,
    )


_NONE_OR_HIGH: Final = _efforts("none", "high", default="none")
MISTRAL: Final = (
    _mistral(
        "mistral-large-4",
        "mistral-large-latest",
        "mistral-medium-3",
        "mistral-medium-2604",
        "mistral-medium-latest",
        "mistral-small-2603",
        "mistral-small-latest",
        "devstral",
        "mistral-vibe",
        "mistral-code-agent",
        thinking=_NONE_OR_HIGH,
    ),
    _mistral("magistral", thinking=_ALWAYS_NO_EFFORT),
    _mistral(
        "mistral",
        "ministral",
        "codestral",
        "pixtral",
        "voxtral",
        "open-mi",
        "mixtral",
        thinking=_NEVER,
    ),
)

# -- Z.ai
_OFF: Final = Thinking(use="by_default", off="disabled")
_INLINE: Final = Schemas(inline_references=True)


def _glm(*beginnings: str, thinking: Thinking, schemas: Schemas | None = None) -> Family:
    return Family(
        beginnings=beginnings,
        vendor="zai",
        source=_ZAI_SOURCE,
        thinking=thinking,
        schemas=Schemas() if schemas is None else schemas,
        caching=_CACHING,
        capabilities=_REASONS,
    )


ZAI: Final = (
    _glm("glm-5.3", thinking=_efforts("low", "high", "max"), schemas=_INLINE),
    _glm(
        "glm-5.2",
        thinking=replace(
            _efforts("none", "minimal", "low", "medium", "high", "xhigh", "max"), off="disabled"
        ),
    ),
    _glm("glm-5", "glm-4.7", "glm-4.6", "glm-4.5", thinking=replace(_OFF, efforts=())),
)

# -- Alibaba: no call can be forced while the model thinks
_QWEN_TOOLS: Final = Tools(forced="not_when_thinking")
_TOGGLE: Final = Thinking(use="by_default", kinds=frozenset({"budget"}), off="toggle")
ALIBABA: Final = (
    Family(
        beginnings=("qwen3.8", "qwen3.7", "qwen3.6", "qwen3.5"),
        vendor="alibaba",
        source=_QWEN_SOURCE,
        thinking=_TOGGLE,
        tools=_QWEN_TOOLS,
        caching=_CACHING,
        capabilities=_REASONS,
    ),
    Family(
        beginnings=("qwen", "qwq"),
        vendor="alibaba",
        source=_QWEN_SOURCE,
        tools=_QWEN_TOOLS,
        caching=_CACHING,
    ),
)
