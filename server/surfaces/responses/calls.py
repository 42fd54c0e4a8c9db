"""Converts function calls to items of the Responses API, whole and streamed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from server.surfaces.responses.ids import new_id
from server.surfaces.responses.tools import CUSTOM, FUNCTION, OWN_CALLS, Tool, Toolbox

Item = dict[str, Any]
_PREFIXES: Final[Mapping[str, str]] = {
    FUNCTION: "fc",
    CUSTOM: "ctc",
    "local_shell_call": "lsh",
    "shell_call": "sh",
    "apply_patch_call": "apc",
    "tool_search_call": "tsc",
}
# A text that has not begun within this many characters is sent at the end.
_BEGINS_WITHIN: Final = 200
# The arguments up to the beginning of the text, and complete characters of the text.
_BEGINNING: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_CHARACTERS: Final = re.compile(
    r'(?:[^"\\]++|\\["\\/bfnrt]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)


def call_item(
    call: Mapping[str, Any], tool: Tool, status: str = "completed", identifier: str | None = None
) -> Item:
    """The item of a call. call: in the form of chat completions; tool: the tool that it calls.
    identifier: None: a new one is made."""
    identifier = identifier or new_id(_PREFIXES[tool.kind])
    function = call.get("function") or {}
    arguments = function.get("arguments", "")
    same = {"id": identifier, "call_id": call.get("id"), "status": status}
    own = OWN_CALLS.get(tool.kind)
    if own is not None:
        item = {"type": tool.kind, **same, own.inside: {**own.always, **(_object(arguments) or {})}}
        return item | ({"execution": "client"} if tool.kind == "tool_search_call" else {})
    said = {"input": input_of(arguments)} if tool.kind == CUSTOM else {"arguments": arguments}
    item = {"type": tool.kind, **same, "name": tool.name, **said}
    if tool.namespace is not None:
        item["namespace"] = tool.namespace
    extra = call.get("extra_content")
    return item if extra is None else item | {"extra_content": extra}


def status_of(arguments: str, *, cut: bool) -> str:
    """The status of a call with these arguments. cut: whether its answer was cut off."""
    return "incomplete" if cut and _object(arguments) is None else "completed"


def input_of(arguments: str) -> str:
    """The text that a custom tool is called with. Arguments that are not JSON are the text
    itself."""
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if isinstance(given, dict):
        # Some models choose their own name for the single argument.
        text = given.get("input", next(iter(given.values()), "") if len(given) == 1 else None)
        return text if isinstance(text, str) else arguments
    return given if isinstance(given, str) else arguments


def arguments_of(text: str) -> str:
    """The arguments of the function that stands for a custom tool, for a call with this text."""
    return orjson.dumps({"input": text}).decode()


class OpenCall:
    """A call that is being streamed. item: the item as it begins."""

    def __init__(self, call: Mapping[str, Any], tools: Toolbox) -> None:
        function = call.get("function") or {}
        self._tool = tools.tool_of(function.get("name"))
        self._call = {**call, "function": {**function, "arguments": ""}}
        self._pieces: list[str] = []
        self._said: list[str] = []
        self._text = _Text()
        self.item = call_item(self._call, self._tool, "in_progress")

    def more(self, arguments: str) -> Iterator[Item]:
        """The events for a further piece of the arguments."""
        self._pieces.append(arguments)
        if self._tool.kind == FUNCTION:
            yield {"type": "response.function_call_arguments.delta", "delta": arguments}
        elif self._tool.kind == CUSTOM:
            yield from self._more_text(self._text.more(arguments))

    def end(self, *, cut: bool = False) -> Iterator[Item]:
        """The events for the end of the arguments; `item` is complete then. cut: the answer ended
        early, perhaps within this call: it is incomplete where its arguments are."""
        whole = "".join(self._pieces)
        function = {**self._call["function"], "arguments": whole}
        call = {**self._call, "function": function}
        status = status_of(whole, cut=cut)
        self.item = call_item(call, self._tool, status, self.item["id"])
        if status == "incomplete":
            return
        if self._tool.kind == FUNCTION:
            done = {"arguments": whole, "name": self._tool.name}
            yield {"type": "response.function_call_arguments.done", **done}
        elif self._tool.kind == CUSTOM:
            text, said = self.item["input"], "".join(self._said)
            if text.startswith(said):
                yield from self._more_text(text[len(said) :])
            yield {"type": "response.custom_tool_call_input.done", "input": text}

    def _more_text(self, text: str) -> Iterator[Item]:
        if text:
            self._said.append(text)
            yield {"type": "response.custom_tool_call_input.delta", "delta": text}


class _Text:
    """Extracts the string from `{"input": "..."}` piece by piece, as it arrives."""

    def __init__(self) -> None:
        self._rest = ""
        self._has_begun = False
        self._is_over = False

    def more(self, arguments: str) -> str:
        """The part of the text that can be read now."""
        if self._is_over:
            return ""
        self._rest += arguments
        if not self._has_begun:
            begun = _BEGINNING.match(self._rest)
            if begun is None:
                self._is_over = len(self._rest) > _BEGINS_WITHIN
                return ""
            self._has_begun = True
            self._rest = self._rest[begun.end() :]
        return self._decoded()

    def _decoded(self) -> str:
        whole = _CHARACTERS.match(self._rest)
        end = 0 if whole is None else whole.end()
        piece, self._rest = self._rest[:end], self._rest[end:]
        self._is_over = self._rest.startswith('"')
        try:
            return str(orjson.loads(f'"{piece}"'))
        except orjson.JSONDecodeError:
            # Text that is not JSON is sent at the end, as it is.
            self._is_over = True
            return ""


def _object(arguments: str) -> Item | None:
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return None
    return given if isinstance(given, dict) else None
