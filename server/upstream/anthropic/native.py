"""Adapts a caller's own Messages body whose history other models may have answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from server.adapting.stand_ins import BEGIN, EMPTY, NO_RESULT, stray_result
from server.model_facts import Thinking
from server.upstream.image_types import with_image_type
from server.upstream.signatures import is_thought
from server.upstream.tool_ids import anthropic_id
from server.upstream.tool_schemas import for_anthropic, unique

Block = Mapping[str, Any]
Turn = Mapping[str, Any]
# Restores a thought as its provider made it; None for another provider's thought.
Own = Callable[[Block], Block | None]
_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_THINKING: Final = frozenset({"enabled", "adaptive"})
_NEEDS_THINKING: Final = "clear_thinking"


def with_taken_history(body: Mapping[str, Any], own: Own) -> Mapping[str, Any]:
    """The body with a history that Anthropic accepts; the same object where it is acceptable
    already.

    Each turn is converted independently of what follows it, apart from the results of its calls, so
    that cached prefixes stay valid.
    """
    turns = body.get("messages")
    if not isinstance(turns, list):
        return body
    mender = _Mender(own)
    taken = mender.taken([_with_image_types(turn) for turn in turns])
    out = dict(body)
    if len(taken) != len(turns) or any(a is not b for a, b in zip(taken, turns, strict=True)):
        out["messages"] = taken
    if not body.get("tools") and mender.called:
        tools = [{"name": name, "input_schema": dict(_EMPTY_SCHEMA)} for name in mender.called]
        out |= {"tools": tools, "tool_choice": {"type": "none"}}
    return body if out == body else out


def with_taken_head(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with a system prompt without empty text, and with tools whose names are unique and
    whose schemas Anthropic accepts; the same object where they are acceptable already."""
    out = dict(body)
    tools, system = body.get("tools"), body.get("system")
    if isinstance(tools, list):
        taken = [for_anthropic(tool) for tool in unique(tools)]
        out["tools"] = tools if _same(taken, tools) else taken
    if isinstance(system, list):
        out["system"] = [block for block in system if not _is_empty_text(block)]
    if out.get("system") in ("", []):
        del out["system"]
    return body if out == body else out


def _is_empty_text(block: Any) -> bool:
    return _field(block, "type") == "text" and not str(block.get("text") or "").strip()


def without_lost_thinking(body: Mapping[str, Any], facts: Thinking) -> Mapping[str, Any]:
    """The body without thinking, for this request only, where the model would refuse it: the last
    turn called tools, and the thoughts before the calls are missing."""
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if not isinstance(kind, str) or kind not in _THINKING:
        return body
    if not facts.tool_turns_need_thoughts and kind == "adaptive":
        return body
    if facts.off == "cannot" or not _lacks_its_thoughts(body["messages"]):
        return body
    out = {name: value for name, value in body.items() if name != "thinking"}
    if facts.off in ("disabled", "between_tools"):
        out["thinking"] = {"type": facts.off}
    return _without_its_edits(out)


def _without_its_edits(body: dict[str, Any]) -> dict[str, Any]:
    """The body without edits that clear thoughts: they are refused where the model does not
    think."""
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, Mapping) else None
    if not isinstance(management, Mapping) or not isinstance(edits, list):
        return body
    kept = [e for e in edits if _NEEDS_THINKING not in str(_field(e, "type"))]
    rest = {name: value for name, value in body.items() if name != "context_management"}
    return rest | ({"context_management": {**management, "edits": kept}} if kept else {})


def _lacks_its_thoughts(turns: Sequence[Turn]) -> bool:
    """Whether the assistant's last turn calls tools, and does not begin with a thought."""
    for turn in reversed(turns):
        content = turn.get("content")
        if turn.get("role") != "assistant":
            if turn.get("role") == "user" and not _has(content, "tool_result"):
                return False
            continue
        return _has(content, "tool_use") and not is_thought((content or [None])[0])
    return False


def _has(content: Any, kind: str) -> bool:
    return isinstance(content, list) and any(_field(block, "type") == kind for block in content)


def _field(block: Any, name: str) -> Any:
    return block.get(name) if isinstance(block, Mapping) else None


def _with_image_types(turn: Any) -> Any:
    content = _field(turn, "content")
    if not isinstance(content, list) or turn.get("role") != "user":
        return turn
    blocks = [with_image_type(block) for block in content]
    return turn if _same(blocks, content) else {**turn, "content": blocks}


class _Mender:
    """Repairs a conversation. called: the names of the called tools, each once."""

    def __init__(self, own: Own) -> None:
        self._own = own
        self._seen: Counter[str] = Counter()
        self._used: set[str] = set()
        self._out: list[Turn] = []
        self.called: dict[str, None] = {}

    def taken(self, turns: Sequence[Any]) -> list[Turn]:
        index = 0
        while index < len(turns):
            turn = turns[index]
            index += 1
            if _field(turn, "role") != "assistant":
                self._plain(turn)
                continue
            calls = self._assistant(turn)
            end = index
            while end < len(turns) and _field(turns[end], "role") != "assistant":
                end += 1
            if calls:
                self._answered(calls, turns[index:end])
                index = end
        if not any(turn["role"] == "user" for turn in self._out):
            self._out.append({"role": "user", "content": BEGIN})
        return self._out

    def _assistant(self, turn: Turn) -> list[tuple[str, str]]:
        """Converts a turn of the assistant; returns (the caller's id, the new id) of each call."""
        calls: list[tuple[str, str]] = []
        content = turn.get("content")
        if not isinstance(content, list):
            if content:
                self._say(turn)
            return calls
        blocks = [taken for block in content if (taken := self._said(block, calls)) is not None]
        if blocks:
            self._say(turn if _same(blocks, content) else {**turn, "content": blocks})
        return calls

    def _say(self, turn: Turn) -> None:
        if not self._out:
            self._out.append({"role": "user", "content": BEGIN})
        self._out.append(turn)

    def _said(self, block: Any, calls: list[tuple[str, str]]) -> Any:
        kind = _field(block, "type")
        if kind == "text":
            return block if str(block.get("text") or "").strip() else None
        if kind == "tool_use":
            old = str(block.get("id") or "")
            new = self._id(old)
            calls.append((old, new))
            self.called[str(block.get("name"))] = None
            given = block.get("input")
            if isinstance(given, Mapping):
                return block if new == block.get("id") else {**block, "id": new}
            wrapped = {} if given in (None, "") else {"arguments": given}
            return {**block, "id": new, "input": wrapped}
        return self._own(block) if is_thought(block) else block

    def _id(self, old: str) -> str:
        """An id in Anthropic's alphabet that no earlier call has."""
        while True:
            self._seen[old] += 1
            times = self._seen[old]
            new = anthropic_id(old if old and times == 1 else f"{old or 'call'}_{times}")
            if new not in self._used:
                self._used.add(new)
                return new

    def _answered(self, calls: list[tuple[str, str]], behind: Sequence[Any]) -> None:
        """Converts what stands between calls and the assistant's next turn: the results come
        first."""
        waiting = list(calls)
        results: dict[str, Block] = {}
        rest: list[Turn] = []
        for turn in behind:
            content = turn.get("content")
            if not isinstance(content, list):
                rest.append(turn)
                continue
            others = []
            for block in content:
                place = self._place(block, waiting)
                if place is None:
                    others.append(block)
                else:
                    _, new = waiting.pop(place)
                    results[new] = block if _field(block, "tool_use_id") == new else {
                        **block, "tool_use_id": new}  # fmt: skip
            rest += [turn if _same(others, content) else {**turn, "content": others}]
        blocks = [results.get(new) or _no_result(new) for _, new in calls]
        self._after_calls(blocks, rest, behind)

    def _after_calls(self, results: list[Block], rest: list[Turn], behind: Sequence[Any]) -> None:
        first = rest[0] if rest else {}
        if first.get("role") == "user" and isinstance(first.get("content"), list):
            others = self._without_strays(first["content"])
            blocks = [*results, *others]
            given = behind[0].get("content")
            same = isinstance(given, list) and _same(blocks, given)
            self._out.append(behind[0] if same else {**first, "content": blocks})
            rest = rest[1:]
        else:
            self._out.append({"role": "user", "content": results})
        for turn in rest:
            if turn.get("content") != []:
                self._plain(turn)

    @staticmethod
    def _place(block: Any, waiting: Sequence[tuple[str, str]]) -> int | None:
        if _field(block, "type") != "tool_result":
            return None
        wanted = str(block.get("tool_use_id") or "")
        return next((n for n, (old, _) in enumerate(waiting) if old == wanted), None)

    def _plain(self, turn: Any) -> None:
        """Converts a user or system turn in which no call is answered."""
        content = _field(turn, "content")
        if _field(turn, "role") != "user":
            self._out.append(turn)
            return
        if isinstance(content, list):
            blocks = self._without_strays(content) or [{"type": "text", "text": EMPTY}]
            self._out.append(turn if _same(blocks, content) else {**turn, "content": blocks})
        else:
            empty = isinstance(content, str) and not content.strip()
            self._out.append({**turn, "content": EMPTY} if empty else turn)

    @staticmethod
    def _without_strays(blocks: Sequence[Any]) -> list[Any]:
        out: list[Any] = []
        for block in blocks:
            kind = _field(block, "type")
            if kind == "tool_result":
                out += _as_words(block)
            elif kind != "text" or str(block.get("text") or "").strip():
                out.append(block)
        return out


def _no_result(identifier: str) -> Block:
    return {"type": "tool_result", "tool_use_id": identifier, "content": NO_RESULT}


def _as_words(result: Block) -> list[Block]:
    """A result whose call is missing, as text."""
    content = result.get("content")
    if isinstance(content, str) or not content:
        return [{"type": "text", "text": stray_result(content or NO_RESULT)}]
    kept = [b for b in content if _field(b, "type") != "text" or str(b.get("text") or "").strip()]
    return [{"type": "text", "text": stray_result("")}, *kept]


def _same(new: Sequence[Any], old: Sequence[Any]) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))
