"""Maps the many names of one model: prefixes of resellers, dates, cases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

# `us.anthropic.claude-...`, `databricks-gpt-...`, `FW-GLM-5.3`
_RESELLER: Final = re.compile(
    r"^(?:(?:us|eu|apac|global|au|jp|ca|us-gov)\.)?"
    r"(?:anthropic|openai|amazon|meta|mistral|deepseek|zai|xai|moonshotai|moonshot|qwen|minimax"
    r"|google|cohere)\.|^databricks-|^fw-|^system\.ai\."
)
# `-v1:0` of Bedrock, `@20251001` and `@default` of Vertex, `:free` of OpenRouter
_TAIL: Final = re.compile(
    r"-v\d+(?::\d+)?$|@[\w.-]+$|-maas$"
    r"|:(?:free|nitro|floor|extended|online|exacto|thinking|beta|batch)$"
)
_REWRITES: Final = (
    (re.compile(r"^zai-(?=glm)"), ""),
    (re.compile(r"^gpt-35-"), "gpt-3.5-"),
    # Adds a point that the vendor omits, or removes one that it does not write.
    (re.compile(r"^(claude-[a-z]+-\d+)\.(?=\d)"), r"\1-"),
    (re.compile(r"^claude-([4-9])[-.](\d{1,2})-(opus|sonnet|haiku|fable)"), r"claude-\3-\1-\2"),
    (re.compile(r"^claude-([4-9])-(opus|sonnet|haiku)"), r"claude-\2-\1"),
    (re.compile(r"^(gpt-\d)-(\d)(?!\d)"), r"\1.\2"),
    (re.compile(r"^(grok-\d)-(\d)$"), r"\1.\2"),
    (re.compile(r"^(glm-\d)-(\d)(?!\d)"), r"\1.\2"),
    (re.compile(r"(?<=[a-z-]\d)p(?=\d)"), "."),
    (re.compile(r"^(mistral-(?:large|medium|small)-\d)\.(\d)$"), r"\1-\2"),
)
_DATE: Final = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")
_LATEST: Final = "-latest"


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """The vendor's own spelling in lower case: without the path, the reseller's prefix and the
    host's suffix. A date is kept."""
    bare = _TAIL.sub("", name.strip().lower().rpartition("/")[2])
    bare = _TAIL.sub("", _RESELLER.sub("", bare))
    for pattern, replacement in _REWRITES:
        bare = pattern.sub(replacement, bare)
    return bare


def spellings(name: str) -> Iterator[str]:
    """The names under which a table may have a model, most likely first: as given, canonical,
    without its date, without `-latest`."""
    seen = set[str]()
    exact = name.strip().lower()
    bare = canonical(name)
    for one in (exact, exact.rpartition("/")[2], bare, undated(bare), bare.removesuffix(_LATEST)):
        if one and one not in seen:
            seen.add(one)
            yield one


def undated(name: str) -> str:
    """A canonical name without the date at its end."""
    return _DATE.sub("", name)
