"""Describes the use of Anthropic's own tools in earlier answers as text, for models of other
providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Blocks of an answer whose absence loses nothing: the calls of the provider's own tools, whose
# results stand beside them, and notes that another model answered.
NOTHING_SAID: Final = frozenset({"server_tool_use", "mcp_tool_use", "mcp_tool_listing", "fallback"})
_RESULT: Final = "_tool_result"
# The readable fields of such a result; the others are encrypted, or ids.
_WORDS: Final = ("title", "source", "url", "text", "stdout", "stderr", "error_code", "tool_name")
_INSIDE: Final = ("content", "tool_references")


def result_in_words(block: Mapping[str, Any]) -> str | None:
    """The result of a tool that the provider ran, as text within the answer; None for any other
    block."""
    kind = str(block.get("type"))
    if not kind.endswith(_RESULT):
        return None
    said = words_of(block)
    return f"\n[{kind.removesuffix(_RESULT)}]\n{said}\n" if said else ""


def words_of(block: Mapping[str, Any]) -> str:
    """The readable content of a block, one line for each part."""
    return "\n".join(_words(block))


def _words(part: object) -> Iterator[str]:
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            yield from (one[n] for n in _WORDS if isinstance(one.get(n), str) and one[n])
            waiting += [one[name] for name in reversed(_INSIDE) if name in one]
        elif isinstance(one, list):
            waiting += reversed(one)
