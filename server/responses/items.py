"""Input items of the Responses API as messages of chat completions."""

from __future__ import annotations

from typing import Any, Final

from server.chat_request import check_number
from server.errors import InvalidRequestError
from server.upstream.seal import unsealed

Message = dict[str, Any]
_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text"})


class Bridge:
    """Collects messages; `gap` names the first thing that chat completions cannot say."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.gap: str | None = None
        self._thoughts: list[Any] = []

    def lacks(self, what: str) -> None:
        """Notes what has no words there."""
        self.gap = self.gap or what

    def add(self, items: object) -> None:
        """`input`: text, or items. Raises InvalidRequestError naming the item."""
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
            case "function_call_output":
                self._output(item, param)
            case "reasoning":
                self._thoughts += unsealed(item.get("encrypted_content"))
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
            self._assistant()["content"] = content
        else:
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
        for name in ("call_id", "name", "arguments"):
            if not isinstance(item.get(name), str):
                raise InvalidRequestError(
                    f"{param}.{name} must be a string.", param=f"{param}.{name}"
                )
        call: Message = {
            "id": item["call_id"],
            "type": "function",
            "function": {"name": item["name"], "arguments": item["arguments"]},
        } | _given("extra_content", item.get("extra_content"))
        self._assistant().setdefault("tool_calls", []).append(call)

    def _output(self, item: Message, param: str) -> None:
        if not isinstance(item.get("call_id", ""), str):
            place = f"{param}.call_id"
            raise InvalidRequestError(f"{place} must be a string.", param=place)
        output = self._content(item.get("output"), f"{param}.output")
        self.messages.append(
            {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
        )

    def _assistant(self) -> Message:
        """The message that the assistant is in the middle of: its text, its calls, its thoughts."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant" or self._thoughts:
            last = {"role": "assistant", "content": None}
            if self._thoughts:
                last["thinking_blocks"], self._thoughts = self._thoughts, []
            self.messages.append(last)
        return last


def _given(name: str, value: object) -> dict[str, Any]:
    return {} if value is None else {name: value}
