"""A request's place in a conversation that is stored here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from server.storage.responses import KeptResponse

Item = dict[str, Any]
# The names that the API gives to items begin with their type.
_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}
_OF_CALLS: Final = ("type", "call_id", "name", "namespace", "arguments", "input")


@dataclass(frozen=True, slots=True)
class Turn:
    """The request's place in a stored conversation. The repr hides its content.

    kept_as: the id under which the answer is to be stored, None where it is not. previous_id: the
    response that it continues. input: its own items; compacts: whether they end with a request to
    compact the conversation.
    """

    kept_as: str | None = None
    previous_id: str | None = None
    input: Sequence[Item] = field(default=(), repr=False)
    compacts: bool = False

    @property
    def marks(self) -> dict[str, Any]:
        """The fields of the response that describe its place."""
        marks = {"previous_response_id": self.previous_id, "store": self.kept_as is not None}
        return marks if self.kept_as is None else {"id": self.kept_as, **marks}


def history_of(kept: Sequence[KeptResponse]) -> list[Item]:
    """The conversation so far, as the input of the next turn. Instructions are not part of it."""
    return [item for response in kept for item in (*response.input, *_output(response))]


def native_history(history: Sequence[Item]) -> list[Item]:
    """The history for a provider that did not store it and may not have produced it.

    Names of items refer to what their provider stores, so they are left out, as is reasoning that
    cannot be read again. The other items show by their marks which provider they come from.
    """
    return [_foreign(item) for item in history if _is_whole(item)]


def listed_items(kept: Sequence[KeptResponse]) -> Iterator[Item]:
    """All input of the last response, each item with its name: first the history, then its own
    items."""
    *before, last = kept
    for response in before:
        yield from _named(response.input, response.id)
        yield from _named(_output(response), response.id)
    yield from _named(last.input, last.id)


def _output(response: KeptResponse) -> list[Item]:
    output: list[Item] = response.document["output"]
    return output


def _is_whole(item: Item) -> bool:
    return item.get("type") != "reasoning" or bool(item.get("encrypted_content"))


def _foreign(item: Item) -> Item:
    match item.get("type", "message"):
        case "message" if item.get("role") == "assistant" and _is_text(item.get("content")):
            text = "".join(part["text"] for part in item["content"])
            return {"type": "message", "role": "assistant", "content": text}
        case "function_call" | "custom_tool_call":
            return {n: item[n] for n in _OF_CALLS if n in item}
        case _:
            return item


def _is_text(content: object) -> bool:
    return isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "output_text" for part in content
    )


def _named(items: Sequence[Item], response_id: str) -> Iterator[Item]:
    """Names items for a list. A name that is made here is always the same."""
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        name = f"{_PREFIXES.get(kind, 'item')}_{response_id.removeprefix('resp_')}{index}"
        listed = {"id": name, "type": kind, **{n: v for n, v in item.items() if v is not None}}
        if kind != "reasoning":
            listed.setdefault("status", "completed")
        if kind == "message" and isinstance(listed.get("content"), str):
            listed["content"] = [_part(item)]
        yield listed


def _part(message: Mapping[str, Any]) -> Item:
    text = message["content"]
    if message.get("role") == "assistant":
        return {"type": "output_text", "text": text, "annotations": []}
    return {"type": "input_text", "text": text}
