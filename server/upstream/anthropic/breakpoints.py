"""Sets cache marks in a translated conversation: Anthropic caches only what the request marks.

A caller of chat completions marks nothing, since OpenAI caches automatically. An agent sends one
growing prefix again and again, and without marks all of it is paid for in full each time. A single
prompt is not marked: a cache write costs a quarter more than plain input, and nobody would read it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_MARK: Final[Mapping[str, str]] = {"type": "ephemeral"}
_MARKED_TURNS: Final = 2
# The API refuses a request with more marks than this.
_MOST_MARKS: Final = 4
_GROUPS: Final = ("tools", "system", "messages")
# A user's message, an answer and the user's next message: the conversation is likely to go on.
_LEAST_TURNS: Final = 3
# Blocks that cannot carry a mark.
_UNMARKED: Final = frozenset({"thinking", "redacted_thinking"})


def with_breakpoints(body: Mapping[str, Any]) -> dict[str, Any]:
    """The Messages body with marks at its tools, its system prompt and its last two user turns.
    Returns the body itself where the caller has set marks, or where nothing is likely to be sent
    again."""
    out = dict(body)
    turns = out["messages"]
    if not (out.get("tools") or len(turns) >= _LEAST_TURNS) or _is_marked(out):
        return out
    if out.get("tools"):
        out["tools"] = _last_marked(out["tools"])
    system = out.get("system")
    if isinstance(system, str) and system.strip():
        system = [{"type": "text", "text": system}]
    if isinstance(system, list) and system:
        out["system"] = _last_marked(system)
    users = [index for index, turn in enumerate(turns) if turn["role"] == "user"]
    marked = set(users[-_MARKED_TURNS:])
    out["messages"] = [_turn(t) if index in marked else t for index, t in enumerate(turns)]
    return out


def with_few_marks(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Messages body with at most as many cache marks as the API accepts: the last one of the
    tools, of the system prompt and of the conversation, and the last ones before. Returns the body
    itself where it has no more."""
    groups = list(_marks(body))
    most = _MOST_MARKS - (body.get("cache_control") is not None)
    if len(groups) <= most:
        return body
    kept = set({group: number for number, group in enumerate(groups)}.values())
    for number in reversed(range(len(groups))):
        if len(kept) < most:
            kept.add(number)
    numbers = itertools.count()
    return {
        name: _with_kept(value, numbers, kept) if name in _GROUPS else value
        for name, value in sorted(body.items(), key=_place)
    }


def _place(field: tuple[str, Any]) -> int:
    """The place of a field's marks among all: the API reads tools, system and messages in order."""
    return _GROUPS.index(field[0]) if field[0] in _GROUPS else len(_GROUPS)


def _marks(body: Mapping[str, Any]) -> Iterator[str]:
    """For each mark, in order, the field that it is in."""
    for group in _GROUPS:
        for _ in range(_n_marks(body.get(group))):
            yield group


def _n_marks(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_n_marks, value))
    if not isinstance(value, Mapping):
        return 0
    return _n_marks(value.get("content")) + (value.get("cache_control") is not None)


def _with_kept(value: Any, numbers: Iterator[int], kept: set[int]) -> Any:
    if isinstance(value, list):
        return [_with_kept(item, numbers, kept) for item in value]
    if not isinstance(value, Mapping) or _n_marks(value) == 0:
        return value
    out = dict(value)
    if "content" in out:
        out["content"] = _with_kept(out["content"], numbers, kept)
    if out.get("cache_control") is not None and next(numbers) not in kept:
        del out["cache_control"]
    return out


def _turn(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    blocks = turn["content"]
    if not blocks or blocks[-1]["type"] in _UNMARKED:
        return turn
    return {**turn, "content": _last_marked(blocks)}


def _last_marked(blocks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [*blocks[:-1], {**blocks[-1], "cache_control": dict(_MARK)}]


def _is_marked(body: Mapping[str, Any]) -> bool:
    if body.get("cache_control") is not None:
        return True
    system = body.get("system")
    blocks = [*(body.get("tools") or ()), *(system if isinstance(system, list) else ())]
    for turn in body["messages"]:
        blocks += turn["content"]
    return any("cache_control" in block for block in blocks)
