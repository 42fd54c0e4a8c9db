"""Puts the names of streamed calls together: some servers send them in pieces, some as far as they
have come, and some whole with every delta. The names of the request's tools say which it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any


class ToolNames:
    """The names of the tools that a request has. tools: as they stand in a chat completion's body;
    anything else has no names."""

    def __init__(self, tools: object = None) -> None:
        self._tools = tools

    def is_final(self, name: str) -> bool:
        """Whether nothing can follow a name; True of every name where no tools are known."""
        return not self._known or (name in self._known and not self._begins_longer(name))

    def joined(self, so_far: str, piece: str, *, same_call: bool) -> str | None:
        """The name of a call of which `so_far` was known when `piece` came; None where the piece is
        the name of another call. same_call: the server says that it is the same call, by an index
        or an id."""
        if not self._known or (so_far in self._known and piece in self._known):
            return None
        both = so_far + piece
        if self._begins(both):
            return both
        if piece.startswith(so_far) and self._begins(piece):
            return piece
        # A model may call a tool that does not exist.
        is_other = so_far in self._known or piece in self._known
        return both if same_call and not is_other else None

    @cached_property
    def _known(self) -> frozenset[str]:
        tools = self._tools if isinstance(self._tools, list) else ()
        return frozenset(_names(tool for tool in tools if isinstance(tool, Mapping)))

    def _begins(self, text: str) -> bool:
        return any(name.startswith(text) for name in self._known)

    def _begins_longer(self, text: str) -> bool:
        return any(name.startswith(text) and name != text for name in self._known)


def _names(tools: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for tool in tools:
        for kind in ("function", "custom"):
            inside = tool.get(kind)
            name = inside.get("name") if isinstance(inside, Mapping) else None
            if isinstance(name, str):
                yield name
