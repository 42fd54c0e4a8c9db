"""What the gateway needs of a request, whichever API it came by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from p2l_model.types import Conversation
from server.model_facts import ModelFacts
from server.surfaces.input_size import Counted
from server.surfaces.responses.tools import Toolbox
from server.surfaces.responses.turn import Turn
from server.upstream.base import Fit, Upstream, UpstreamRequest
from server.wire.surface import Surface


class GatewayRequest(Protocol):
    """A parsed request: chat completions, or one of the other surfaces."""

    @property
    def model(self) -> str:
        """The model asked for, in the caller's words."""

    @property
    def surface(self) -> Surface:
        """The API that the caller speaks."""

    @property
    def body(self) -> Mapping[str, Any]:
        """What is asked, in the form of chat completions where the surface has a way into it."""

    @property
    def native(self) -> Mapping[str, Any] | None:
        """The caller's own body, where the surface is not chat completions."""

    @property
    def tools(self) -> Toolbox | None:
        """The tools of a Responses request as functions; None on other surfaces."""

    @property
    def server_tools(self) -> bool:
        """Whether it needs tools that the provider runs, which no budget can bound."""

    @property
    def turn(self) -> Turn | None:
        """Its place in a kept conversation; None on surfaces that have none."""

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""

    @property
    def include_usage(self) -> bool:
        """Whether a stream of chat completions is to end with its usage."""

    @property
    def n(self) -> int:
        """How many answers."""

    @property
    def max_output_tokens(self) -> int | None:
        """The caller's own cap on each."""

    @property
    def tier(self) -> str | None:
        """The service tier that is asked for, None for the normal one."""

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that a model must have."""

    @property
    def conversation(self) -> Conversation:
        """What is scored."""

    def counted(self) -> Counted:
        """The input, in tokens and in text."""

    def fit(
        self, upstream: Upstream, model: str, *, bounded: bool, facts: ModelFacts | None = None
    ) -> Fit:
        """Whether the provider can express this, and what of it goes out. model: its name for the
        model. bounded: a budget, a window or a key bounds what it may cost or choose. facts: what
        is known of the model; None: nothing is adapted to it."""

    def outgoing(
        self, upstream: Upstream, model: str, output_cap: int | None, fit: Fit
    ) -> UpstreamRequest:
        """What goes to the provider. output_cap: tokens, where a budget sets one. fit: of this
        request at this provider."""
