"""The tool calls of a streamed answer, told apart and put one after the other.

Servers of open models send calls without an index or all with the same, without ids or with the
same for all, with the name in every delta, with arguments that are an object, and deltas of several
calls in turns. Which call a delta belongs to is told by all that it says.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

Delta = dict[str, Any]
_NO_OBJECT: Final = "null"
_INPUT: Final = {"function": "arguments", "custom": "input"}
_OWN: Final = frozenset({"index", "id", "type", "function", "custom"})


def new_call_id() -> str:
    """An id as OpenAI makes them."""
    return f"call_{uuid.uuid4().hex[:24]}"


def arguments_text(arguments: object) -> str:
    """Arguments as the text that they should be."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(arguments).decode()


def whole_arguments(text: str) -> str | None:
    """Arguments that have ended, as the text of a JSON object; None where they are cut off or are
    something else. Nothing at all is an object without members; an object that was written as a
    JSON string, as some models do, is taken out of it."""
    bare = text.strip()
    if not bare or bare == _NO_OBJECT:
        return "{}"
    parsed = _parsed(bare)
    if isinstance(parsed, dict):
        return text
    if isinstance(parsed, str) and isinstance(_parsed(parsed), dict):
        return parsed
    return "{}" if parsed == [] else None


def _parsed(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _read(given: Mapping[str, Any]) -> tuple[str, str, str, Delta]:
    """The kind of a call or of a delta, the name, more of the arguments, and what else is said."""
    kind = "custom" if isinstance(given.get("custom"), Mapping) else "function"
    function = given.get(kind)
    extra = {name: value for name, value in given.items() if name not in _OWN}
    if not isinstance(function, Mapping):
        # the fields of the call itself, as in the Responses API
        function, extra = given, {}
    name = function.get("name")
    piece = arguments_text(function.get(_INPUT[kind]))
    return kind, name if isinstance(name, str) else "", piece, extra


class StreamedCall:
    """One call, as far as it has come. number: its place in the answer. index: what the server
    calls its place; given_id: the server's id for it. kind: function or custom, whose input is
    text of any kind."""

    def __init__(self, number: int, index: object, given_id: str, kind: str) -> None:
        self.number = number
        self.index = index
        self.given_id = given_id
        self.call_id = given_id
        self.kind = kind
        self.name = ""
        self.text = ""
        self.is_open = False
        self._n_sent = 0
        self._extra: Delta = {}

    @property
    def _is_text(self) -> bool:
        return self.kind == "custom"

    def add(self, name: str, piece: str, extra: Delta) -> None:
        """More of it."""
        self.name = self.name or name
        self.text += piece
        self._extra |= extra

    @property
    def is_whole(self) -> bool:
        """Whether the arguments that have come are a JSON object."""
        return self.text.rstrip().endswith("}") and isinstance(_parsed(self.text), dict)

    def take(self) -> Delta | None:
        """What has come and is not sent yet; None where that is nothing, or not to be sent yet:
        what does not begin like an object is looked at when it has ended."""
        if not self.name:
            return None
        ready = self._is_text or self.text.lstrip()[:1] in ("{", "")
        piece = self.text[self._n_sent :] if ready else ""
        if self.is_open and not piece and not self._extra:
            return None
        return self._sent(piece)

    def end(self) -> Delta | None:
        """What is left to be sent of a call that has ended whole."""
        if not self._is_text and self._n_sent == 0:
            self.text = whole_arguments(self.text) or ""
        return self.take()

    @property
    def fault(self) -> str | None:
        """What keeps it from being a whole call."""
        if not self.name:
            return "a tool call without a name"
        if not self._is_text and whole_arguments(self.text) is None:
            return "a tool call whose arguments are cut off or are no JSON object"
        return None

    def _sent(self, piece: str) -> Delta:
        kind, text = self.kind, _INPUT[self.kind]
        inside: Delta = {text: piece}
        delta: Delta = {"index": self.number}
        if not self.is_open:
            delta |= {"id": self.call_id, "type": kind}
            inside = {"name": self.name, text: piece}
        delta |= {kind: inside, **self._extra}
        self.is_open = True
        self._n_sent += len(piece)
        self._extra = {}
        return delta


class StreamedCalls:
    """The calls of one answer. Each is sent to its end before the next begins."""

    def __init__(self) -> None:
        self._calls: list[StreamedCall] = []
        self._by_index: dict[object, StreamedCall] = {}
        self._by_id: dict[str, StreamedCall] = {}
        # the one that is being sent; those after it wait
        self._current = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def is_within_one(self) -> bool:
        """A call has been opened that is not whole yet."""
        return bool(self._calls) and not self._calls[self._current].is_whole

    @property
    def fault(self) -> str | None:
        """What is wrong with the first call that is not whole at the end."""
        return next((call.fault for call in self._calls if call.fault is not None), None)

    def take(self, given: object) -> list[Delta]:
        """The deltas to be sent for those that came."""
        for delta in given if isinstance(given, list) else [given]:
            if isinstance(delta, Mapping):
                self._add(delta)
        return list(self._ready())

    def end(self, *, cut: bool = False) -> list[Delta]:
        """What is left to be sent. cut: the answer ended in the middle, and says so."""
        rest = []
        while self._current < len(self._calls):
            call = self._calls[self._current]
            last = call.take() if cut and not call.is_whole else call.end()
            rest += [] if last is None else [last]
            self._current += 1
        self._current = max(0, len(self._calls) - 1)
        return rest

    def add_whole(self, given: object) -> None:
        """A call of an answer that is not streamed: none goes on with another."""
        if isinstance(given, Mapping):
            kind, name, piece, extra = _read(given)
            call_id = given.get("id")
            call = self._new(None, call_id if isinstance(call_id, str) else "", kind)
            call.add(name, piece, extra)

    def whole(self, *, cut: bool) -> list[Delta]:
        """The calls that `add_whole` was given. cut: as in `end`."""
        return [
            {name: value for name, value in delta.items() if name != "index"}
            for delta in self.end(cut=cut)
        ]

    def _ready(self) -> Iterator[Delta]:
        while True:
            delta = self._calls[self._current].take() if self._calls else None
            if delta is not None:
                yield delta
            if self._current + 1 >= len(self._calls) or not self._calls[self._current].is_whole:
                return
            self._current += 1

    def _add(self, delta: Mapping[str, Any]) -> None:
        kind, name, piece, extra = _read(delta)
        index, call_id = delta.get("index"), delta.get("id")
        index = index if isinstance(index, int) else None
        call_id = call_id if isinstance(call_id, str) else ""
        call = self._found(index, call_id, name, piece)
        if call is None:
            call = self._new(index, call_id, kind)
        elif name and piece.strip() and piece == call.text and call.is_whole:
            return  # said once more
        call.add(name, piece, extra)

    def _found(self, index: int | None, call_id: str, name: str, piece: str) -> StreamedCall | None:
        """The call that a delta goes on with; None where it begins one."""
        call = self._by_id.get(call_id)
        if call is None or (index is not None and call.index != index):
            last = self._calls[-1] if self._calls else None
            call = last if index is None else self._by_index.get(index)
        if call is None or not name or not call.name:
            return call
        if call_id not in ("", call.given_id):
            return call if _goes_on_under_another_id(call, name, piece) else None
        if name != call.name:
            return None
        repeated = piece == call.text and bool(index is not None or call_id)
        return None if piece.strip() and call.is_whole and not repeated else call

    def _new(self, index: int | None, call_id: str, kind: str) -> StreamedCall:
        call = StreamedCall(len(self._calls), index, call_id, kind)
        if not call_id or call_id in self._by_id:
            call.call_id = new_call_id()
        self._calls.append(call)
        self._by_id.setdefault(call_id or call.call_id, call)
        self._by_index[index] = call
        return call


def _goes_on_under_another_id(call: StreamedCall, name: str, piece: str) -> bool:
    """Some servers make up an id for every delta, or say it late."""
    if name != call.name:
        return False
    if not call.given_id and not call.text:
        return True
    begun = bool(call.text.strip()) and not call.is_whole
    return begun and bool(piece) and not piece.lstrip().startswith("{")
