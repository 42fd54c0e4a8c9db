"""A provider without a network, which answers with the recorded tokens and bills its cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from router.cost import Usage
from server.offline.jobs.turns import Turn
from server.surfaces.effort import effort_in
from server.upstream.base import UpstreamReply, UpstreamRequest
from server.upstream.sandbox import SandboxUpstream
from server.wire.surface import Surface
from server.wire.usage import openai_usage

# The usage of a turn's answer: by the provider's name for the model, and the effort asked for.
Usages = Callable[[Turn, str, str | None], Usage]


class RecordedUpstream(SandboxUpstream):
    """Answers the current turn. turn: returns that. usages: what it bills. has_messages: whether
    the provider speaks the Messages API, so that it gets cache marks."""

    def __init__(
        self, name: str, turn: Callable[[], Turn], usages: Usages, *, has_messages: bool
    ) -> None:
        super().__init__(name)
        self._has_messages = has_messages
        self._turn = turn
        self._usages = usages

    def speaks(self, surface: Surface) -> bool:
        """Whether a request of this surface can be sent as it is."""
        return surface is Surface.CHAT or (surface is Surface.MESSAGES and self._has_messages)

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        """An answer without words, with the call whose result comes next."""
        turn = self._turn()
        usage = self._usages(turn, request.upstream_model, effort_in(request.body))
        function = {"name": "work", "arguments": "{}"}
        call: dict[str, Any] = {"id": turn.next_call, "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return UpstreamReply({"choices": [choice], "usage": openai_usage(usage)})
