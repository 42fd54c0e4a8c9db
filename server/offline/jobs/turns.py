"""Recorded requests in their conversations, in the form in which every rule of routing meets them.

A request has no text: its messages are names of their places in the conversation, so that the
gateway's own code tells sessions, branches and tool loops by them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from p2l_model.types import PromptLeaderboard
from router.record import record
from server.model_facts import ModelFacts
from server.offline.jobs.line import JobRequest
from server.surfaces.chat.request import ChatRequest
from server.surfaces.input_size import Counted
from server.upstream.base import Fit, Upstream

# Conversations that are remembered; the gateway remembers as many sessions.
_MOST: Final = 50_000
# An input that is shorter by a quarter has been summarised by its client: no two tokenizers differ
# by so much.
_SHORTENED: Final = 0.75
_BYTES_PER_TOKEN: Final = 4
_TOOL: Final = {"type": "function", "function": {"name": "work", "parameters": {}}}

Place = tuple[str, int]


@record(frozen=True, slots=True)
class TextlessRequest(ChatRequest):
    """A request whose size is that of the recorded one."""

    recorded_tokens: int = 0

    def counted(self) -> Counted:
        """The recorded number of tokens; there is no text."""
        n_tokens = self.recorded_tokens
        n_bytes = _BYTES_PER_TOKEN * n_tokens
        return Counted("", n_tokens, n_bytes, n_bytes, False)

    def fit(
        self,
        upstream: Upstream,  # noqa: ARG002
        model: str,  # noqa: ARG002
        *,
        bounded: bool,  # noqa: ARG002
        facts: ModelFacts | None = None,  # noqa: ARG002
    ) -> Fit:
        """Every provider can express it: the recorded request was answered."""
        return Fit()


class Predicted(NamedTuple):
    """What the router predicts of a model's answer."""

    win_rate: float
    output_tokens: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A recorded request in its conversation. board: its leaderboard; None where none is known.
    number: of the request in the conversation, from 0. prefix_tokens: those of its input that the
    conversation's request before held. is_anew: nothing of an earlier request is in it. predicted:
    by catalogue name, once the router has been asked."""

    line: JobRequest
    request: TextlessRequest
    board: PromptLeaderboard | None
    number: int
    prefix_tokens: int
    is_anew: bool
    predicted: Mapping[str, Predicted] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """The session and the branch."""
        return self.line.session, self.line.branch

    @property
    def next_call(self) -> str:
        """The id of the call that its answer makes, if the next request brings a result."""
        return _call(self.line, self.number + 1)

    @property
    def now_s(self) -> float:
        """When it was sent, in seconds."""
        return self.line.began_s + self.line.at_s

    @property
    def is_routed(self) -> bool:
        """Whether a rule of routing chooses its model."""
        return self.line.routed and self.board is not None


@dataclass(slots=True)
class _Conversation:
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    board: PromptLeaderboard | None = None
    n_requests: int = 0
    n_tokens: int = 0


class Conversations:
    """The conversations of a file, which is read line by line."""

    def __init__(self) -> None:
        self._known: OrderedDict[Place, _Conversation] = OrderedDict()

    def turn(self, line: JobRequest) -> Turn:
        """The next request of its conversation."""
        place = line.session, line.branch
        talk = self._known.setdefault(place, _Conversation())
        self._known.move_to_end(place)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        if line.leaderboard is not None:
            talk.board = line.leaderboard.leaderboard()
        number, before = talk.n_requests, talk.n_tokens
        is_anew = line.input_tokens < _SHORTENED * before or number == 0
        self._say(talk, line, is_anew=is_anew)
        talk.n_requests, talk.n_tokens = number + 1, line.input_tokens
        return Turn(
            line=line,
            request=_request(line, talk.messages),
            board=talk.board,
            number=number,
            prefix_tokens=0 if is_anew else min(before, line.input_tokens),
            is_anew=is_anew,
        )

    def _say(self, talk: _Conversation, line: JobRequest, *, is_anew: bool) -> None:
        """Adds what the request brings beyond the one before."""
        name = f"{line.session}/{line.branch}/{talk.n_requests}"
        if is_anew:
            talk.messages.clear()
            talk.messages.append({"role": "user", "content": name})
        if line.tool_loop:
            call = _call(line, talk.n_requests)
            function = {"name": "work", "arguments": "{}"}
            made = {"id": call, "type": "function", "function": function}
            talk.messages.append({"role": "assistant", "content": None, "tool_calls": [made]})
            talk.messages.append({"role": "tool", "tool_call_id": call, "content": name})
        elif not is_anew:
            talk.messages.append({"role": "assistant", "content": f"answer {name}"})
        if line.new_words and not is_anew:
            talk.messages.append({"role": "user", "content": name})


def _call(line: JobRequest, number: int) -> str:
    """The id of the call whose result the request of this number brings."""
    return f"call_{line.session}/{line.branch}/{number}"


def _request(line: JobRequest, messages: list[Mapping[str, Any]]) -> TextlessRequest:
    body: dict[str, Any] = {"model": "p2l", "messages": list(messages)}
    if line.effort is not None:
        body["reasoning_effort"] = line.effort
    if "tools" in line.needs:
        body["tools"] = [_TOOL]
    if line.cache_write_1h_tokens > 0:
        body["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    return TextlessRequest(
        body=body,
        model="p2l",
        stream=True,
        include_usage=False,
        n=1,
        max_output_tokens=line.max_output_tokens,
        needs=frozenset(line.needs),
        recorded_tokens=line.input_tokens,
    )
