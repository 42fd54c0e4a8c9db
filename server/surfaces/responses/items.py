"""Converts input items of the Responses API to messages of chat completions."""

from __future__ import annotations

from typing import Any, Final

import orjson

from server.errors import InvalidRequestError
from server.surfaces.chat.request import check_number
from server.surfaces.responses.calls import arguments_of
from server.surfaces.responses.tools import CUSTOM, FUNCTION, OWN_CALLS, Toolbox
from server.upstream.carried import are_signatures, put_back, text_of_summary
from server.upstream.compaction import ASK, told_summary
from server.upstream.seal import unsealed

Message = dict[str, Any]
_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})
_OUTPUTS: Final = frozenset(
    {
        *("apply_patch_call_output", "custom_tool_call_output", "function_call_output"),
        *("local_shell_call_output", "shell_call_output"),
    }
)
# Items that are dropped: work that the provider of an earlier answer did itself, whose answer
# stands without it, and settings of the next answer.
_PASSED_OVER: Final = frozenset(
    {
        *("code_interpreter_call", "configuration_update", "file_search_call"),
        *("image_generation_call", "mcp_approval_request", "mcp_approval_response"),
        *("mcp_call", "mcp_list_tools", "web_search_call"),
    }
)


class Bridge:
    """Collects messages and tools. gap: the first thing that chat completions cannot express;
    left_out: other things that they cannot express and that may be dropped. compacts: whether the
    conversation is to be compacted."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.tools = Toolbox()
        self.gap: str | None = None
        self.compacts = False
        self.left_out: dict[str, None] = {}
        # The thoughts before the assistant's next item, and the text of them that was shown.
        self._thoughts: list[Any] = []
        self._words = ""

    def lacks(self, what: str) -> None:
        """Notes something essential that chat completions cannot express."""
        self.gap = self.gap or what

    def add(self, items: object) -> None:
        """Adds `input`: a text, or items. Raises InvalidRequestError, which names the item."""
        if isinstance(items, str):
            self.messages.append({"role": "user", "content": items})
            return
        if not isinstance(items, list) or not items:
            raise InvalidRequestError("input must be text or a list of items.", param="input")
        check_number(items, "input")
        for index, item in enumerate(items):
            param = f"input[{index}]"
            if not isinstance(item, dict):
                raise InvalidRequestError(f"{param} must be an object.", param=param)
            self._item(item, param)

    def _item(self, item: Message, param: str) -> None:
        match item.get("type", "message"):
            case "message":
                self._message(item, param)
            case "function_call":
                self._call(item, param)
            case "custom_tool_call":
                self._custom_call(item, param)
            case "reasoning":
                self._thoughts += unsealed(item.get("encrypted_content"))
                self._words += text_of_summary(item)
            case "additional_tools":
                self.tools.add(item.get("tools"), f"{param}.tools")
            case "compaction":
                self._compaction(item)
            case "compaction_trigger":
                self.compacts = True
                self.messages.append({"role": "user", "content": ASK})
            case "tool_search_output":
                self._found(item, param)
            case str(kind) if kind in _OUTPUTS:
                self._output(item, param)
            case str(kind) if kind in OWN_CALLS:
                self._own_call(item, param)
            case str(kind) if kind in _PASSED_OVER:
                self.left_out[f"input.{kind}"] = None
            case kind:
                self.lacks(f"items of type {str(kind)[:40]}")

    def _message(self, item: Message, param: str) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            known = ", ".join(sorted(_ROLES))
            place = f"{param}.role"
            raise InvalidRequestError(f"{place} must be one of {known}.", param=place)
        content = self._content(item.get("content"), f"{param}.content")
        if role == "assistant":
            message = self._assistant()
            if message["content"] is None:
                message["content"] = content
            else:
                # This is another message of the same turn.
                self.messages.append({"role": role, "content": content})
        else:
            self._thoughts, self._words = [], ""
            self.messages.append({"role": role, "content": content})

    def _content(self, content: object, param: str) -> str | list[Message]:
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise InvalidRequestError(f"{param} must be text or a list of parts.", param=param)
        parts = []
        for index, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                place = f"{param}[{index}]"
                raise InvalidRequestError(f"{place} must be an object with a type.", param=place)
            parts += self._part(part)
        if all(part["type"] == "text" and len(part) == 2 for part in parts):
            return "".join(part["text"] for part in parts) if len(parts) == 1 else parts
        return parts

    def _part(self, part: Message) -> list[Message]:
        kind = part["type"]
        if kind in _TEXTS:
            return [{"type": "text", "text": str(part.get("text", ""))}]
        if kind == "refusal":
            return [{"type": "refusal", "refusal": str(part.get("refusal", ""))}]
        if kind == "input_image" and isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"]}
            detail = part.get("detail")
            return [{"type": "image_url", "image_url": image | _given("detail", detail)}]
        if kind == "input_file" and (part.get("file_data") or part.get("file_id")):
            names = ("file_data", "file_id", "filename")
            return [{"type": "file", "file": {n: part[n] for n in names if part.get(n)}}]
        if kind == "input_audio":
            return [{"type": "input_audio", "input_audio": part.get("input_audio")}]
        self.lacks(f"parts of type {kind[:40]} like this one")
        return []

    def _call(self, item: Message, param: str) -> None:
        _check_texts(item, param, ("call_id", "name", "arguments"))
        name = self.tools.name_of(FUNCTION, item["name"], item.get("namespace"))
        self._called(item, param, name, item["arguments"])

    def _custom_call(self, item: Message, param: str) -> None:
        _check_texts(item, param, ("call_id", "name", "input"))
        name = self.tools.name_of(CUSTOM, item["name"], item.get("namespace"))
        self._called(item, param, name, arguments_of(item["input"]))

    def _own_call(self, item: Message, param: str) -> None:
        if item.get("execution") == "server":
            return  # the search was the provider's, and what it found is offered
        own = OWN_CALLS[item["type"]]
        said = item.get(own.inside)
        if not isinstance(said, dict):
            place = f"{param}.{own.inside}"
            raise InvalidRequestError(f"{place} must be an object.", param=place)
        inside = {n: v for n, v in said.items() if v is not None and v != own.always.get(n)}
        name = self.tools.name_of_own(own.kind)
        self._called(item, param, name, orjson.dumps(inside).decode())

    def _called(self, item: Message, param: str, name: str, arguments: str) -> None:
        call: Message = {
            "id": _call_id(item, param),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        } | _given("extra_content", item.get("extra_content"))
        self._assistant().setdefault("tool_calls", []).append(call)

    def _output(self, item: Message, param: str) -> None:
        said, call_id = item.get("output"), _call_id(item, param)
        if item["type"] == "shell_call_output" or said is None:
            # The result of each command, or of a patch that reports only whether it was applied.
            output: str | list[Message] = orjson.dumps(said or item.get("status")).decode()
        else:
            output = self._content(said, f"{param}.output")
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": output})

    def _compaction(self, item: Message) -> None:
        told = told_summary(item)
        if told is None:
            self.lacks("compactions of another provider's")
        else:
            self.messages.append({"role": "user", "content": told})

    def _found(self, item: Message, param: str) -> None:
        """Adds the tools that the caller's own search has found."""
        self.tools.add(item.get("tools"), f"{param}.tools")
        if item.get("execution") == "server":
            return
        found = [tool.get("name") for tool in item.get("tools") or ()]
        said, call_id = orjson.dumps({"tools": found}).decode(), _call_id(item, param)
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": said})

    def _assistant(self) -> Message:
        """The assistant's message that is being built: its text, its calls, its thoughts."""
        last = self.messages[-1] if self.messages else {}
        thoughts, words = self._thoughts, self._words
        self._thoughts, self._words = [], ""
        if last.get("role") != "assistant" or words or not are_signatures(thoughts):
            last = {"role": "assistant", "content": None}
            self.messages.append(last)
        put_back(last, thoughts, words)
        return last


def _check_texts(item: Message, param: str, names: tuple[str, ...]) -> None:
    for name in names:
        if not isinstance(item.get(name), str):
            place = f"{param}.{name}"
            raise InvalidRequestError(f"{place} must be a string.", param=place)


def _call_id(item: Message, param: str) -> str:
    """The id of a call or of its result; those of the local shell may have it as `id`."""
    call_id = item.get("call_id")
    if call_id is not None and not isinstance(call_id, str):
        place = f"{param}.call_id"
        raise InvalidRequestError(f"{place} must be a string.", param=place)
    return str(item.get("id") or "") if call_id is None else call_id


def _given(name: str, value: object) -> dict[str, Any]:
    return {} if value is None else {name: value}
