"""Compaction of a conversation by a model whose provider does not offer it: the summary that the
model writes becomes the single item that the API returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.surfaces.responses.ids import new_id
from server.surfaces.responses.reply import Item, ended
from server.surfaces.responses.stream import Event, ResponseStream
from server.surfaces.responses.tools import Toolbox
from server.upstream.compaction import kept_summary


def compacted(response: Item) -> Item:
    """A whole response whose output is a compaction with the summary."""
    texts = [
        part.get("text", "")
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]
    return {**response, "output": [_item("".join(texts))]}


class CompactionStream(ResponseStream):
    """A streamed compaction. Nothing is sent before it is complete."""

    def __init__(self, response: Item) -> None:
        super().__init__(response, Toolbox(), with_thoughts=False)
        self._summary: list[str] = []

    def _delta(self, delta: Mapping[str, Any], _: Mapping[str, Any]) -> Iterator[Event]:
        if isinstance(delta.get("content"), str):
            self._summary.append(delta["content"])
        yield from ()

    def end(self) -> Iterator[Event]:
        """The events after the last chunk."""
        item = _item("".join(self._summary))
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.output_item.done", output_index=0, item=item)
        response = {**self.response, "output": [item]}
        self.response = ended(response, self._finish_reason, self._usage)
        yield self._event(f"response.{self.response['status']}", response=self.response)


def _item(text: str) -> Item:
    return {"type": "compaction", "id": new_id("cmp"), "encrypted_content": kept_summary(text)}
