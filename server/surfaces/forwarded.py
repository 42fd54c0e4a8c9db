"""Completions and embeddings: forwarded as they are to the model that is named, and paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from p2l_model.types import Conversation
from server.errors import InvalidRequestError
from server.model_facts import ModelFacts
from server.surfaces.chat.request import count_field, flag, include_usage, without_ours
from server.surfaces.input_size import Counted
from server.surfaces.responses.tools import Toolbox
from server.surfaces.responses.turn import Turn
from server.upstream.base import Fit, Upstream, UpstreamRequest
from server.upstream.fitting import fit_of
from server.wire.service_tier import tier_of
from server.wire.surface import Surface

_INPUTS: Final = {Surface.COMPLETIONS: "prompt", Surface.EMBEDDINGS: "input"}
_MAX_CHOICES: Final = 128


@dataclass(frozen=True, slots=True)
class PassThroughRequest:
    """A parsed request. Its repr hides the body: prompts stay out of logs."""

    body: Mapping[str, Any] = field(repr=False)
    model: str
    surface: Surface
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    needs: frozenset[str] = frozenset()
    native: Mapping[str, Any] | None = None
    server_tools: bool = False
    turn: Turn | None = None
    tools: Toolbox | None = None

    @property
    def tier(self) -> str | None:
        """The service tier that is asked for; None: the normal one."""
        return tier_of(self.body)

    @property
    def conversation(self) -> Conversation:
        """An empty conversation: it is never scored, since the model is named."""
        return Conversation(("",))

    def counted(self) -> Counted:
        """The size of the input: text as text; token arrays by their length."""
        given = self.body[_INPUTS[self.surface]]
        texts, tokens = _texts_and_tokens(given)
        suffix = self.body.get("suffix")
        texts += [suffix] if isinstance(suffix, str) else []
        text = "\n".join(texts)
        n_bytes = len(text.encode("utf-8", "surrogatepass"))
        return Counted(text, tokens, n_bytes + tokens + 16, n_bytes)

    def fit(
        self,
        upstream: Upstream,
        model: str,  # noqa: ARG002
        *,
        bounded: bool,
        facts: ModelFacts | None = None,  # noqa: ARG002
    ) -> Fit:
        """Whether the provider has the surface, and what of the body will be sent. bounded: see
        Upstream.fields."""
        if upstream.speaks(self.surface):
            return fit_of(self.body, upstream.fields(self.surface, bounded=bounded))
        return Fit(f"its provider has no /v1/{self.surface}")

    def outgoing(
        self,
        upstream: Upstream,  # noqa: ARG002
        model: str,
        output_cap: int | None,
        fit: Fit,
    ) -> UpstreamRequest:
        """The request to the provider, with its name for the model and the cap in force. fit: the
        fit of this request at this provider."""
        body = {**(self.body if fit.body is None else fit.body), "model": model}
        if output_cap is not None and self.surface is Surface.COMPLETIONS:
            body["max_tokens"] = output_cap
        return UpstreamRequest(body, self.stream, model, self.surface)


def parse_completions_request(body: Mapping[str, Any]) -> PassThroughRequest:
    """Parses a completions body. Raises InvalidRequestError, which names the field."""
    _check_input(body, "prompt")
    stream = flag(body, "stream")
    answers = max(count_field(body, "n", _MAX_CHOICES) or 1,
                  count_field(body, "best_of", _MAX_CHOICES) or 1)  # fmt: skip
    return PassThroughRequest(
        body=without_ours(body),
        model=_model(body),
        surface=Surface.COMPLETIONS,
        stream=stream,
        include_usage=include_usage(body, stream),
        n=answers * _n_prompts(body["prompt"]),
        max_output_tokens=count_field(body, "max_tokens", 2**31),
    )


def parse_embeddings_request(body: Mapping[str, Any]) -> PassThroughRequest:
    """Parses an embeddings body. Raises InvalidRequestError, which names the field."""
    _check_input(body, "input")
    return PassThroughRequest(
        body=without_ours(body),
        model=_model(body),
        surface=Surface.EMBEDDINGS,
        stream=False,
        include_usage=False,
        n=1,
        max_output_tokens=0,
    )


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("model must be a string.", param="model")
    return model


def _check_input(body: Mapping[str, Any], name: str) -> None:
    given = body.get(name)
    if isinstance(given, str):
        return
    if not isinstance(given, list) or not given or not all(_is_input(item) for item in given):
        raise InvalidRequestError(
            f"{name} must be text, a list of texts, or tokens as whole numbers.", param=name
        )


def _is_input(item: object) -> bool:
    if isinstance(item, list):
        return all(_is_token(token) for token in item)
    return isinstance(item, str) or _is_token(item)


def _is_token(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _n_prompts(prompt: object) -> int:
    if isinstance(prompt, list) and not all(_is_token(item) for item in prompt):
        return len(prompt)
    return 1


def _texts_and_tokens(given: object) -> tuple[list[str], int]:
    items = given if isinstance(given, list) else [given]
    texts = [item for item in items if isinstance(item, str)]
    tokens = sum(len(item) if isinstance(item, list) else 1 for item in items)
    return texts, tokens - len(texts)
