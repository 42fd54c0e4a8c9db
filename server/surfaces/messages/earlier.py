"""What Anthropic's own tools did in earlier answers, in words for models of other providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

# Blocks of an answer that tell how it came about, and nothing that is missed in it: the calls of
# the provider's own tools, whose results are beside them, and the model that answered instead.
NOTHING_SAID: Final = frozenset({"server_tool_use", "mcp_tool_use", "mcp_tool_listing", "fallback"})
_RESULT: Final = "_tool_result"
# Of such a result, what is for reading; the rest is encrypted, or ids.
_WORDS: Final = ("title", "source", "url", "text", "stdout", "stderr", "error_code", "tool_name")
_INSIDE: Final = ("content", "tool_references")


def result_in_words(block: Mapping[str, Any]) -> str | None:
    """The result of a tool that the provider has run, to be read among the words of the answer;
    None for any other block."""
    kind = str(block.get("type"))
    if not kind.endswith(_RESULT):
        return None
    said = words_of(block)
    return f"\n[{kind.removesuffix(_RESULT)}]\n{said}\n" if said else ""


def words_of(block: Mapping[str, Any]) -> str:
    """What of a block is for reading, a line for each."""
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
