"""Separates the tool calls of a streamed answer, and sends them one after the other.

Servers of open models send calls without an index or all with the same one, without ids or with the
same one for all, with the name in every delta or in pieces, with arguments that are an object, and
with interleaved deltas. The call of a delta is found by everything that it contains.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from server.upstream.mending.names import ToolNames

Delta = dict[str, Any]
_NO_OBJECT: Final = "null"
# The field of each kind of call that holds its input.
INPUT: Final = {"function": "arguments", "custom": "input"}
_OWN: Final = frozenset({"index", "id", "type", "function", "custom"})


def new_call_id() -> str:
    """A new id in OpenAI's form."""
    return f"call_{uuid.uuid4().hex[:24]}"


def arguments_text(arguments: object) -> str:
    """Arguments as text."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(arguments).decode()


def whole_arguments(text: str) -> str | None:
    """Complete arguments as the text of a JSON object; None where they are cut off or are something
    else. An empty text is an empty object; an object written as a JSON string, as some models do,
    is unwrapped."""
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
    """The type of a call or of a delta, its name, a piece of its arguments, and its other
    fields."""
    kind = "custom" if isinstance(given.get("custom"), Mapping) else "function"
    function = given.get(kind)
    extra = {name: value for name, value in given.items() if name not in _OWN}
    if not isinstance(function, Mapping):
        # The fields of the call itself, as in the Responses API.
        function, extra = given, {}
    name = function.get("name")
    piece = arguments_text(function.get(INPUT[kind]))
    return kind, name if isinstance(name, str) else "", piece, extra


class StreamedCall:
    """The state of one streamed call. number: its place in the answer. index: the server's number
    for it; given_id: the server's id for it. kind: function or custom, whose input is any text."""

    def __init__(self, number: int, index: object, given_id: str, kind: str) -> None:
        self.number = number
        self.index = index
        self.given_id = given_id
        self.call_id = given_id
        self.kind = kind
        self.name = ""
        self.text = ""
        self.is_open = False
        # Whether nothing can follow the name.
        self.is_named = False
        self._n_sent = 0
        self._extra: Delta = {}

    @property
    def _is_text(self) -> bool:
        return self.kind == "custom"

    def add(self, name: str, piece: str, extra: Delta) -> None:
        """Adds a further piece. name: the whole name so far; empty where it did not come."""
        self.name = name if name and not self.is_open else self.name
        self.text += piece
        self._extra |= extra

    @property
    def is_whole(self) -> bool:
        """Whether the arguments so far are a JSON object."""
        return self.text.rstrip().endswith("}") and isinstance(_parsed(self.text), dict)

    def take(self) -> Delta | None:
        """The part that has arrived and is not sent yet; None where there is none, or where it must
        wait: arguments that do not begin like an object are checked at their end."""
        if not self.name or not (self.is_open or self.is_named or self.text):
            return None
        ready = self._is_text or self.text.lstrip()[:1] in ("{", "")
        piece = self.text[self._n_sent :] if ready else ""
        if self.is_open and not piece and not self._extra:
            return None
        return self._sent(piece)

    def end(self) -> Delta | None:
        """The rest of a complete call."""
        self.is_named = True
        if not self._is_text and self._n_sent == 0:
            self.text = whole_arguments(self.text) or ""
        return self.take()

    @property
    def fault(self) -> str | None:
        """Why the call is not complete; None where it is."""
        if not self.name:
            return "a tool call without a name"
        if not self._is_text and whole_arguments(self.text) is None:
            return "a tool call whose arguments are cut off or are not a JSON object"
        return None

    def _sent(self, piece: str) -> Delta:
        kind, text = self.kind, INPUT[self.kind]
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
    """The calls of one answer. Each is sent to its end before the next one begins. names: those of
    the request's tools."""

    def __init__(self, names: ToolNames | None = None) -> None:
        self._names = names or ToolNames()
        self._calls: list[StreamedCall] = []
        self._by_index: dict[object, StreamedCall] = {}
        self._by_id: dict[str, StreamedCall] = {}
        # The index of the call that is being sent; those after it wait.
        self._current = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def is_within_one(self) -> bool:
        """Whether a call has been opened that is not complete yet."""
        return bool(self._calls) and not self._calls[self._current].is_whole

    @property
    def fault(self) -> str | None:
        """The fault of the first call that is not complete at the end."""
        return next((call.fault for call in self._calls if call.fault is not None), None)

    def take(self, given: object) -> list[Delta]:
        """The deltas to be sent for those that arrived."""
        for delta in given if isinstance(given, list) else [given]:
            if isinstance(delta, Mapping):
                self._add(delta)
        return list(self._ready())

    def end(self, *, cut: bool = False) -> list[Delta]:
        """The rest to be sent. cut: the answer was cut off, and reports it."""
        rest = []
        while self._current < len(self._calls):
            call = self._calls[self._current]
            call.is_named = True
            last = call.take() if cut and not call.is_whole else call.end()
            rest += [] if last is None else [last]
            self._current += 1
        self._current = max(0, len(self._calls) - 1)
        return rest

    def add_whole(self, given: object) -> None:
        """Adds a call of an answer that is not streamed: it never continues another call."""
        if isinstance(given, Mapping):
            kind, name, piece, extra = _read(given)
            call_id = given.get("id")
            call = self._new(None, call_id if isinstance(call_id, str) else "", kind)
            call.add(name, piece, extra)

    def whole(self, *, cut: bool) -> list[Delta]:
        """The calls given to `add_whole`. cut: as in `end`."""
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
            return  # it was sent twice
        elif name and call.name:
            name = self._longer(call, index, call_id, name) or call.name
        if call_id and not (call.given_id or call.is_open):
            # It came late.
            call.given_id = call.call_id = call_id
            self._by_id.setdefault(call_id, call)
        call.add(name, piece, extra)
        call.is_named = call.is_named or self._names.is_final(call.name)

    def _found(self, index: int | None, call_id: str, name: str, piece: str) -> StreamedCall | None:
        """The call that a delta continues; None where it begins one."""
        call = self._by_id.get(call_id)
        if call is None or (index is not None and call.index != index):
            last = self._calls[-1] if self._calls else None
            call = last if index is None else self._by_index.get(index)
        if call is None or not name or not call.name:
            return call
        if self._longer(call, index, call_id, name) is not None:
            return call
        if call_id not in ("", call.given_id):
            return call if _goes_on_under_another_id(call, name, piece) else None
        if name != call.name:
            return None
        repeated = piece == call.text and bool(index is not None or call_id)
        return None if piece.strip() and call.is_whole and not repeated else call

    def _longer(
        self, call: StreamedCall, index: int | None, call_id: str, piece: str
    ) -> str | None:
        """The name of a call whose name goes on; None where it does not."""
        if call.is_open or call.text or piece == call.name:
            return None
        same_index = index is not None and call.index == index
        if call_id not in ("", call.given_id) and not same_index:
            return None
        return self._names.joined(call.name, piece, same_call=same_index or call_id != "")

    def _new(self, index: int | None, call_id: str, kind: str) -> StreamedCall:
        call = StreamedCall(len(self._calls), index, call_id, kind)
        if not call_id or call_id in self._by_id:
            call.call_id = new_call_id()
        self._calls.append(call)
        self._by_id.setdefault(call_id or call.call_id, call)
        self._by_index[index] = call
        return call


def _goes_on_under_another_id(call: StreamedCall, name: str, piece: str) -> bool:
    """Whether a delta continues a call in spite of its id: some servers make up an id for every
    delta, or send it late."""
    if name != call.name:
        return False
    if not call.given_id and not call.text:
        return True
    begun = bool(call.text.strip()) and not call.is_whole
    return begun and bool(piece) and not piece.lstrip().startswith("{")
