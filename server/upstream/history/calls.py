"""Gives each tool call of a conversation a unique id and exactly one result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from server.upstream.carried import signature_of
from server.upstream.history.rules import Rules
from server.upstream.signatures import is_foreign

Message = Mapping[str, Any]
# The name of a tool for a call that does not name one.
_NAMELESS: Final = "unnamed_tool"


class Calls:
    """The calls of one conversation, in order."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._seen: Counter[str] = Counter()
        self._used: set[str] = set()

    def named(self, calls: Sequence[Any]) -> tuple[list[dict[str, Any]], list[str]]:
        """Returns (calls as the provider accepts them, their previous ids)."""
        given = [str(call.get("id") or "") for call in calls]
        return [self._call(call, old) for call, old in zip(calls, given, strict=True)], given

    def paired(
        self, given: Sequence[str], behind: Sequence[Message]
    ) -> tuple[list[Message | None], list[Message]]:
        """Returns (the result of each call, None where it has none; the other messages there).
        given: the previous ids of the calls. behind: the messages after the calls."""
        results: list[Message | None] = [None] * len(given)
        stray = []
        for message in behind:
            place = self._place(message, given, results) if message["role"] == "tool" else None
            if place is None:
                stray.append(message)
            else:
                results[place] = message
        return results, stray

    def _place(
        self, message: Message, given: Sequence[str], results: Sequence[Message | None]
    ) -> int | None:
        wanted = str(message.get("tool_call_id") or "")
        open_ones = [place for place, result in enumerate(results) if result is None]
        return next((place for place in open_ones if given[place] == wanted), None)

    def _call(self, call: Mapping[str, Any], old: str) -> dict[str, Any]:
        kept = self._rules.call_fields
        out = {n: v for n, v in call.items() if kept is None or n in kept}
        if "extra_content" in out and not self._rules.opens_seals and is_foreign(signature_of(out)):
            del out["extra_content"]
        out["id"] = self._id(old)
        function, custom = call.get("function"), call.get("custom")
        if isinstance(custom, Mapping) and kept is not None and "custom" not in kept:
            # A custom tool takes one text: for other providers it is a function with one string.
            arguments = orjson.dumps({"input": str(custom.get("input") or "")}).decode()
            function = {"name": custom.get("name"), "arguments": arguments}
        if isinstance(function, Mapping):
            out |= {"type": "function", "function": self._function(function)}
        return out

    def _function(self, function: Mapping[str, Any]) -> dict[str, Any]:
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = "{}" if arguments is None else orjson.dumps(arguments).decode()
        if self._rules.json_arguments and not _is_object(arguments):
            arguments = "{}" if not arguments.strip() else _wrapped(arguments)
        return {"name": function.get("name") or _NAMELESS, "arguments": arguments}

    def _id(self, old: str) -> str:
        """An id that no earlier call has; the same for the same conversation."""
        say = self._rules.call_id or str
        while True:
            self._seen[old] += 1
            times = self._seen[old]
            own = say(old if old and times == 1 else f"{old or 'call'}_{times}")
            if own not in self._used:
                self._used.add(own)
                return own


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _wrapped(text: str) -> str:
    """Wraps arguments that are not an object in one."""
    return orjson.dumps({"arguments": text}).decode()


def called_names(messages: Sequence[Message]) -> list[str]:
    """The names of the tools that a conversation has called, each once, in order."""
    names: dict[str, None] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            inside = call.get("function") or call.get("custom")
            name = inside.get("name") if isinstance(inside, Mapping) else None
            if isinstance(name, str) and name:
                names[name] = None
    return list(names)
