"""Tool calls of a conversation and their results: each call has an id of its own and one result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from server.upstream.carried import signature_of
from server.upstream.history.rules import Rules
from server.upstream.signatures import is_foreign

Message = Mapping[str, Any]
# Of a call that does not say which tool it calls.
_NAMELESS: Final = "unnamed_tool"


class Calls:
    """The calls of one conversation, in their order."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._seen: Counter[str] = Counter()
        self._used: set[str] = set()

    def named(self, calls: Sequence[Any]) -> tuple[list[dict[str, Any]], list[str]]:
        """(calls as the provider takes them, the ids that they had)."""
        given = [str(call.get("id") or "") for call in calls]
        return [self._call(call, old) for call, old in zip(calls, given, strict=True)], given

    def paired(
        self, given: Sequence[str], behind: Sequence[Message]
    ) -> tuple[list[Message | None], list[Message]]:
        """(the result of each call, None where it has none; what else stands there). given: the ids
        that the calls had. behind: the messages after them."""
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
            # a custom tool takes one text: to others it is a function that does
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
        """One that no call before has; the same for the same conversation."""
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
    """Arguments that are no object, within one."""
    return orjson.dumps({"arguments": text}).decode()


def called_names(messages: Sequence[Message]) -> list[str]:
    """The tools that a conversation has called, each once, the first first."""
    names: dict[str, None] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            inside = call.get("function") or call.get("custom")
            name = inside.get("name") if isinstance(inside, Mapping) else None
            if isinstance(name, str) and name:
                names[name] = None
    return list(names)
