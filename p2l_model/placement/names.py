"""Reads a model's name: which model it is, at which effort, and what the name says about it.

Sources spell one model in many ways (`anthropic/claude-opus-4.5`, `opus-4.5`,
`claude-opus-4-5-20251101-thinking-64k-high-effort`). Hosts, quantisations, dates and previews are
the same model; sizes, generations and versions that a vendor sells apart are different models. An
effort is not part of the model: it makes another column of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

# No thinking, the efforts in ascending order, thinking without a stated effort, and nothing said.
NONE: Final = "none"
THINKING: Final = "thinking"
UNSAID: Final = ""
EFFORTS: Final = (NONE, "minimal", "low", "medium", "high", "xhigh", "max")

_VENDOR_WORDS: Final = re.compile(
    r"^(?:baidu|bytedance|tencent|xiaomi|nvidia|amazon|meta|mistralai|databricks|fw|openai|anthropic"
    r"|google|prime-intellect|zai|z-ai|api)[-.](?=[a-z])"
)
_HOST: Final = re.compile(
    r"@[\w.-]+$|:(?:free|nitro|floor|extended|online|exacto|beta|batch|thinking)$|[-:]cloud$"
    r"|-v\d+:\d+$|-maas$"
)
_HARNESS: Final = re.compile(r"\s*\(?codex-harness\)?")
_PACKING: Final = re.compile(
    r"\.gguf\b|[-_:](?:q\d(?:_[a-z0-9]+)*|fp8(?:-dynamic)?|fp16|bf16|int4|int8|awq|gptq|nvfp4"
    r"|mxfp4)\b"
)
_DATES: Final = (
    re.compile(r"-(20\d{2})(\d{2})(\d{2})(?=-|$)"),
    re.compile(r"-(20\d{2})-(\d{2})-(\d{2})(?=-|$)"),
    re.compile(r"-(2[3-9])-(0[1-9]|1[0-2])-([0-3]\d)(?=-|$)"),
)
_MODES: Final = (
    (re.compile(r"-(?:no-?thinking|no-?think|non-?reasoning|no-reasoning|non-thinking)(?=-|$)"),
     NONE),
    (re.compile(r"-(?:thinking-(?:\d+k|auto)-)?(minimal|low|medium|high|xhigh|max)"
                r"-(?:effort|reasoning)(?=-|$)"), None),
    (re.compile(r"-thinking-(minimal|low|medium|high|xhigh)(?=-|$)"), None),
    (re.compile(r"-(low|medium|high)thinking(?=-|$)"), None),
    (re.compile(r"-(?:thinking(?:-\d+k|-auto)?|reasoning|think)(?=-|$)"), THINKING),
)  # fmt: skip
# Families whose names end with the effort alone: `gpt-5-high`, `o3-mini-low`.
_BARE_EFFORT: Final = re.compile(
    r"^(?P<model>(?:gpt-5|gpt-6|o1|o3|o4|grok-3-mini|gemini-3|gemini-2|claude|gpt-oss|deepseek-v4"
    r"|glm-5).*?)"
    r"-(?P<effort>none|minimal|low|medium|high|xhigh)(?P<rest>-preview)?$"
)
_NOISE: Final = re.compile(
    r"(?<!^o1)(?<!qwq-32b)-(?:preview|latest|instruct|it|hf|chat|versatile|base|api|inst|basic|ov"
    r"|online|search-grounding|gguf)(?=-|$)"
)
_REWRITES: Final = (
    (re.compile(r"^(?:fable|opus|sonnet|haiku)-"), r"claude-\g<0>"),
    (re.compile(r"^(claude-[a-z]+-\d+)\.(?=\d)"), r"\1-"),
    (re.compile(r"^claude-(\d)[-.](\d{1,2})-(opus|sonnet|haiku|fable)"), r"claude-\3-\1-\2"),
    (re.compile(r"^claude-(\d)-(opus|sonnet|haiku)"), r"claude-\2-\1"),
    (re.compile(r"^claude-v(\d)"), r"claude-\1"),
    (re.compile(r"^(?:gpt|gpt-)35-"), "gpt-3.5-"),
    (re.compile(r"^gpt4?_(\d+)_"), r"gpt-4-\1-"),
    (re.compile(r"^(gpt-\d)-(\d)(?!\d)"), r"\1.\2"),
    (re.compile(r"^(grok-\d)-(\d)(?!\d)"), r"\1.\2"),
    (re.compile(r"^(glm-\d)-(\d)(?![\db])"), r"\1.\2"),
    (re.compile(r"^glm(\d)"), r"glm-\1"),
    (re.compile(r"^meta-(?=llama)"), ""),
    (re.compile(r"^llama-v?(\d)p(\d)"), r"llama-\1.\2"),
    (re.compile(r"^llama(\d)"), r"llama-\1"),
    (re.compile(r"^phi(\d)"), r"phi-\1"),
    (re.compile(r"^(gemma)(\d)"), r"\1-\2"),
    (re.compile(r"^qwen-(\d\.)"), r"qwen\1"),
    (re.compile(r"^seed(\d)"), r"seed-\1"),
    (re.compile(r"^nemotron(\d)"), r"nemotron-\1"),
    (re.compile(r"^llama-3\.3-nemotron-(?:super-49b|49b-super)"), "nemotron-super-49b"),
    (re.compile(r"^(?:doubao|dola|bytedance)-(?=seed)"), ""),
    (re.compile(r"^seed-(\d)-(\d)"), r"seed-\1.\2"),
    (re.compile(r"^mistral-(large|medium|small)-(\d)-(\d)$"), r"mistral-\1-\2.\3"),
    (re.compile(r"-\d+b-\d+e$"), ""),
    (re.compile(r"(?<=\db)-a\d+b"), ""),
)  # fmt: skip
# Names that no rule unites: each pair was checked by hand against the vendor's own list.
_BY_HAND: Final = {
    "kimi-k2-0711": "kimi-k2",
    "mistral-large-2512": "mistral-large-3",
    "mistral-large-3-675b-2512": "mistral-large-3",
    "mistral-large-2": "mistral-large-2407",
    "mistral-medium-2505": "mistral-medium-3",
    "mistral-small-24b-2501": "mistral-small-2501",
    "mistral-small-3.1-24b": "mistral-small-3.1",
    "mistral-small-3.1-24b-2503": "mistral-small-3.1",
    "mistral-small-2503": "mistral-small-3.1",
    "open-mistral-nemo": "mistral-nemo",
    "mistral-nemo-2407": "mistral-nemo",
    "devstral-2": "devstral-2512",
    "devstral-2-123b-2512": "devstral-2512",
    "command-a-03-2025": "command-a",
    "deepseek-coder-v2": "deepseek-v2-coder-0614",
    "qwen3-max-2025-09-23": "qwen3-max",
    "qwen3.8-2.4t-a95b": "qwen3.8-max",
    "nova-lite-v1.0": "nova-lite",
    "nova-pro-v1.0": "nova-pro",
    "nova-micro-v1.0": "nova-micro",
    "nemotron-ultra-253b": "llama-3.1-nemotron-ultra-253b-v1",
    "nemotron-3-super": "nemotron-3-super-120b",
    "nemotron-3-ultra": "nemotron-3-ultra-550b",
    "gemini-3-pro-11-2025": "gemini-3-pro",
    "llama-3.1-8b-instant": "llama-3.1-8b",
    "llama-3.1-8b-turbo": "llama-3.1-8b",
    "llama-3.1-70b-turbo": "llama-3.1-70b",
    "llama-3.1-405b-turbo": "llama-3.1-405b",
    "llama-3.3-70b-turbo": "llama-3.3-70b",
    "qwen2.5-72b-turbo": "qwen2.5-72b",
    "qwen2.5-7b-turbo": "qwen2.5-7b",
    "gpt-4": "gpt-4-0613",
    "grok-4-0709": "grok-4",
    "qwen3-coder": "qwen3-coder-480b",
    "gemini-2.0-flash-001": "gemini-2.0-flash",
    "gemini-2.0-flash-lite-001": "gemini-2.0-flash-lite",
}
# Dated snapshots that are different models under one undated name: the date is part of the name.
_DATED: Final = re.compile(
    r"^(?:gpt-4o|gpt-4-|gpt-4$|chatgpt-4o|gpt-3\.5|claude-sonnet-3-5|gemini-1\.5|gemini-exp|grok-2"
    r"|deepseek-v2|deepseek-r1|deepseek-v3|deepseek-v4|hunyuan|step-|reka|glm-4-|qwen-|command-r)"
)


@dataclass(frozen=True, slots=True)
class Name:
    """model: the one spelling of the model. effort: one of EFFORTS, THINKING where thinking is on
    at an unstated effort, or UNSAID. dated: the date in the name, where it has one."""

    model: str
    effort: str
    dated: date | None


@lru_cache(maxsize=8192)
def parse(name: str) -> Name:
    """Reads the name of a model in any of the spellings that published results use."""
    text = name.strip().lower().replace("__", "/").rpartition("/")[2]
    text = _PACKING.sub("", _HOST.sub("", _HOST.sub("", _HARNESS.sub("", text))))
    text = re.sub(r"[\s_]+(?=[a-z0-9])", "-", re.sub(r"[()]", "", text))
    text = re.sub(r"(?<=[a-z\d]):(?=\d)", "-", text)
    text = re.sub(r"^amazon\.", "", text)
    text = _HOST.sub("", _VENDOR_WORDS.sub("", text))
    dated, text = _date(text)
    effort, text = _effort(text)
    text = _rewritten(_NOISE.sub("", text))
    text = _BY_HAND.get(text, text)
    if dated is not None and _DATED.match(text):
        text = f"{text}-{dated:%Y-%m-%d}"
    return Name(text, effort, dated)


def _date(text: str) -> tuple[date | None, str]:
    for pattern in _DATES:
        found = pattern.search(text)
        if found is not None:
            year, month, day = (int(part) for part in found.groups())
            try:
                dated = date(year + 2000 if year < 100 else year, month, day)
            except ValueError:
                continue
            return dated, text[: found.start()] + text[found.end() :]
    return None, text


def _effort(text: str) -> tuple[str, str]:
    effort = UNSAID
    for pattern, stands_for in _MODES:
        found = pattern.search(text)
        if found is not None:
            said = stands_for if stands_for is not None else found[1]
            text = text[: found.start()] + text[found.end() :]
            if effort in (UNSAID, THINKING):
                effort = said
    bare = _BARE_EFFORT.match(text)
    if bare is not None:
        return bare["effort"], bare["model"] + (bare["rest"] or "")
    return effort, text


def _rewritten(text: str) -> str:
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip("-")


def effort_rank(effort: str) -> float:
    """How much an effort thinks: 0 (none) to 6 (max); thinking at an unstated effort counts as
    medium. NaN where nothing is said."""
    if effort == THINKING:
        return 3.0
    return float(EFFORTS.index(effort)) if effort in EFFORTS else float("nan")
