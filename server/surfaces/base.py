"""The interface of a parsed request, whichever API it came through."""

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
        """The model asked for, as the caller named it."""

    @property
    def surface(self) -> Surface:
        """The API that the caller speaks."""

    @property
    def body(self) -> Mapping[str, Any]:
        """The request in the form of chat completions, where the surface can be converted to it."""

    @property
    def native(self) -> Mapping[str, Any] | None:
        """The caller's own body, where the surface is not chat completions."""

    @property
    def tools(self) -> Toolbox | None:
        """The tools of a Responses request as functions; None on other surfaces."""

    @property
    def server_tools(self) -> bool:
        """Whether it needs tools that the provider runs, whose cost no budget can bound."""

    @property
    def turn(self) -> Turn | None:
        """Its place in a stored conversation; None on surfaces that have none."""

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""

    @property
    def include_usage(self) -> bool:
        """Whether a stream of chat completions is to end with its usage."""

    @property
    def n(self) -> int:
        """The number of answers."""

    @property
    def max_output_tokens(self) -> int | None:
        """The caller's own cap on the tokens of each answer."""

    @property
    def tier(self) -> str | None:
        """The service tier that is asked for; None: the normal one."""

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that a model must have."""

    @property
    def conversation(self) -> Conversation:
        """The conversation that is scored."""

    def counted(self) -> Counted:
        """The size of the input, in tokens and as text."""

    def fit(
        self, upstream: Upstream, model: str, *, bounded: bool, facts: ModelFacts | None = None
    ) -> Fit:
        """Whether the provider can express this request, and what of it will be sent.

        model: the provider's name for the model. bounded: whether a budget, a window or a key
        limits what the request may cost or choose. facts: the facts about the model; None: the
        request is not adapted to it.
        """

    def outgoing(
        self, upstream: Upstream, model: str, output_cap: int | None, fit: Fit
    ) -> UpstreamRequest:
        """The request to the provider. output_cap: in tokens, where a budget sets one. fit: the fit
        of this request at this provider."""
