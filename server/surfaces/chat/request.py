"""A chat-completions body: the fields that we need are checked, the rest is forwarded unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from typing import Any, Final

from p2l_model.types import Conversation, user_turns
from router.record import record
from server.adapting import (
    Adapted,
    adapt_chat,
    adapt_messages,
    adapt_responses,
    adapt_unknown_messages,
    with_all_tools_loaded,
)
from server.errors import InvalidRequestError
from server.model_facts import ModelFacts
from server.surfaces.chat.fields import check_fields
from server.surfaces.input_size import Counted, count_chat
from server.surfaces.responses.tools import Toolbox
from server.surfaces.responses.turn import Turn
from server.upstream.base import Fit, Upstream, UpstreamRequest
from server.upstream.fields import OURS
from server.upstream.fitting import fit_adapted, fit_of
from server.wire.service_tier import tier_of
from server.wire.surface import Surface
from server.wire.tools import only_provider_runs, runs_in_chat

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_CAPS: Final = ("max_completion_tokens", "max_tokens")
# The name of the output cap on other surfaces, and the fixed fields of their bodies: nothing is
# stored at the provider.
NATIVE_CAPS: Final = {Surface.RESPONSES: "max_output_tokens", Surface.MESSAGES: "max_tokens"}
_NATIVE_ALWAYS: Final[Mapping[Surface, Mapping[str, Any]]] = {Surface.RESPONSES: {"store": False}}
_MAX_CHOICES: Final = 128
# Each message is processed several times; no real conversation has this many.
MAX_MESSAGES: Final = 4_096
_MEDIA_NEEDS: Final = {"image_url": "vision", "input_audio": "audio", "file": "files"}


@record(frozen=True, slots=True)
class ChatRequest:
    """A parsed request. Its repr hides the body: prompts stay out of logs.

    body: in the form of chat completions, whichever surface was used. surface: the caller's
    surface. native: the caller's own body, where the surface is another one; headers are sent with
    it. Neither body holds the fields that are meant for the gateway. native_only: the first part of
    it that chat completions cannot express, so that only providers of the surface itself can
    answer; None: there is none. bridged_without: fields that chat completions cannot express and
    that may be dropped. tools: the tools of a Responses request in the form of chat completions.
    server_tools: whether it needs tools that the provider runs. turn: see Turn. thinking_tokens:
    the part of the output cap that the native body reserves for thinking. thinks_not: whether the
    native body asks for an answer without thoughts.
    """

    body: Mapping[str, Any] = field(repr=False)
    model: str
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    needs: frozenset[str]
    surface: Surface = Surface.CHAT
    native: Mapping[str, Any] | None = field(default=None, repr=False)
    native_only: str | None = None
    bridged_without: tuple[str, ...] = ()
    tools: Toolbox | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    server_tools: bool = False
    turn: Turn | None = None
    thinking_tokens: int = 0
    thinks_not: bool = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as the caller sent it."""
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages

    @property
    def tier(self) -> str | None:
        """The service tier that is asked for; None: the normal one."""
        return tier_of(self.body if self.native is None else self.native)

    @property
    def conversation(self) -> Conversation:
        """The conversation that is scored: the user's words. A document of the Messages API is not
        part of them, although as a message of chat completions it would look like it."""
        native = self.native if self.surface is Surface.MESSAGES else None
        return Conversation(user_turns(self.messages if native is None else native["messages"]))

    def counted(self) -> Counted:
        """The size of the input, in tokens and as text."""
        return count_chat(self.body, self.native)

    def fit(
        self, upstream: Upstream, model: str, *, bounded: bool, facts: ModelFacts | None = None
    ) -> Fit:
        """Whether the provider can express this request, and what of it will be sent.

        model: the provider's name for the model. bounded: see Upstream.fields. facts: the facts
        about the model.
        """
        if self.native is not None and upstream.speaks(self.surface):
            return self._native_fit(self.native, upstream, model, facts, bounded=bounded)
        if self.native_only is not None:
            return Fit(f"its provider does not support {self.native_only}")
        found = self._bridged_fit(upstream, model, facts, bounded=bounded)
        if not self.bridged_without:
            return found
        return replace(found, left_out=tuple(sorted({*found.left_out, *self.bridged_without})))

    def _bridged_fit(
        self, upstream: Upstream, model: str, facts: ModelFacts | None, *, bounded: bool
    ) -> Fit:
        if facts is None:
            return upstream.fit(self.body, model, bounded=bounded)
        body = self.body
        if self.thinks_not and facts.thinking.use not in ("never", "unknown"):
            body = {**body, "reasoning_effort": "none"}
        adapted = adapt_chat(body, facts)
        return fit_adapted(self.body, adapted, upstream.fit(adapted.body, model, bounded=bounded))

    def _native_fit(
        self,
        native: Mapping[str, Any],
        upstream: Upstream,
        model: str,
        facts: ModelFacts | None,
        *,
        bounded: bool,
    ) -> Fit:
        if bounded and native.get("prompt") is not None:
            return Fit(
                "the length of a prompt that the provider stores is not known: send its "
                "text instead"
            )
        adapted = self._adapted(native, model, facts)
        fields = upstream.fields(self.surface, bounded=bounded)
        found = fit_adapted(native, adapted, fit_of(adapted.body, fields))
        if found.body is not None and any(map(_is_search, found.left_out)):
            found = replace(found, body=with_all_tools_loaded(found.body))
        if self.thinking_tokens == 0:
            return found
        return replace(found, thinking_tokens=self.thinking_tokens)

    def _adapted(self, native: Mapping[str, Any], model: str, facts: ModelFacts | None) -> Adapted:
        if self.surface is Surface.MESSAGES:
            return (
                adapt_unknown_messages(native, model)
                if facts is None
                else adapt_messages(native, facts)
            )
        return Adapted(native) if facts is None else adapt_responses(native, facts)

    def outgoing(
        self, upstream: Upstream, model: str, output_cap: int | None, fit: Fit
    ) -> UpstreamRequest:
        """The request to the provider: with its name for the model, the cap in force, and the
        fields that may be sent.

        output_cap: in tokens, for a request that must not exceed its budget. fit: the fit of this
        request at this provider.
        """
        if self.native is not None and upstream.speaks(self.surface):
            body = dict(self.native if fit.body is None else fit.body)
            if output_cap is not None and self.surface in NATIVE_CAPS:
                body[NATIVE_CAPS[self.surface]] = output_cap
            body |= {**_NATIVE_ALWAYS.get(self.surface, {}), "model": model}
            return UpstreamRequest(body, self.stream, model, self.surface, self.headers)
        body = {**(self.body if fit.body is None else fit.body), "model": model}
        if output_cap is not None:
            # A provider may heed either field: no field that was given may allow more than the cap.
            given = [name for name in _CAPS if body.get(name) is not None]
            body |= dict.fromkeys(given or _CAPS[:1], output_cap)
        return UpstreamRequest(body, self.stream, model)


def _is_search(left_out: str) -> bool:
    return left_out.startswith("tools.tool_search_tool_")


def parse_chat_request(body: Mapping[str, Any], *, default_model: str | None = None) -> ChatRequest:
    """Parses a chat-completions body. Raises InvalidRequestError, which names the field."""
    model = body.get("model", default_model)
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("model must be a string, for example p2l.", param="model")
    _check_messages(body.get("messages"))
    check_fields(body)
    body = body if OURS.isdisjoint(body) else without_ours(body)
    stream = flag(body, "stream")
    if flag(body, "store"):
        raise InvalidRequestError(
            "store: completions are not stored here. Leave it out or set it to false.",
            param="store",
        )
    return ChatRequest(
        body=body,
        model=model,
        stream=stream,
        include_usage=include_usage(body, stream),
        n=count_field(body, "n", _MAX_CHOICES) or 1,
        max_output_tokens=_output_cap(body),
        needs=_needs(body),
        server_tools=body.get("web_search_options") is not None
        or ("tools" in body and only_provider_runs(body["tools"], runs_in_chat)),
    )


def without_ours(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the fields that are meant for the gateway alone."""
    return {key: value for key, value in body.items() if key not in OURS}


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(
            "messages must be a list with at least one message.", param="messages"
        )
    check_number(messages, "messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            param = f"messages[{index}]"
            raise InvalidRequestError(f"{param} must be an object.", param=param)
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in _ROLES:
            known, param = ", ".join(sorted(_ROLES)), f"messages[{index}]"
            raise InvalidRequestError(f"{param}.role must be one of {known}.", param=param)
        if not isinstance(content, str):
            _check_content(content, f"messages[{index}].content")


def check_number(items: Sequence[object], param: str) -> None:
    """Checks the number of messages or input items. Raises InvalidRequestError."""
    if len(items) > MAX_MESSAGES:
        raise InvalidRequestError(
            f"{param} holds {len(items)}, and at most {MAX_MESSAGES} are accepted. Leave out the "
            "oldest, or join some.",
            param=param,
        )


def _check_content(content: object, param: str) -> None:
    if content is None:
        return
    if not isinstance(content, list):
        raise InvalidRequestError(f"{param} must be text or a list of parts.", param=param)
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequestError(
                f"{param}[{index}] must be an object with a type.", param=f"{param}[{index}]"
            )


def flag(body: Mapping[str, Any], name: str, inside: str = "") -> bool:
    """The value of a boolean field. inside: the path of the object that holds it. Raises
    InvalidRequestError."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        place = inside + name
        raise InvalidRequestError(f"{place} must be true or false.", param=place)
    return value is True


@contextmanager
def in_words_of(names: Mapping[str, str]) -> Iterator[None]:
    """Within this context, errors name the fields of another API, whose request is read as a chat
    completion. names: its field names, by those of chat completions."""
    try:
        yield
    except InvalidRequestError as error:
        theirs = error.param or ""
        if theirs not in names:
            raise
        ours = names[theirs]
        message = error.message.replace(theirs, ours, 1)
        raise InvalidRequestError(
            message, param=ours, code=error.code or "invalid_request"
        ) from None


def include_usage(body: Mapping[str, Any], stream: bool) -> bool:
    """Whether a stream is to end with its usage. Raises InvalidRequestError."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict) or not stream:
        raise InvalidRequestError(
            "stream_options must be an object, and goes with stream: true.", param="stream_options"
        )
    return flag(options, "include_usage", "stream_options.")


def count_field(body: Mapping[str, Any], name: str, maximum: int) -> int | None:
    """The value of a field that must be a whole number of at least 1. Raises
    InvalidRequestError."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
        raise InvalidRequestError(f"{name} must be a whole number from 1 to {maximum}.", param=name)
    return value


def _output_cap(body: Mapping[str, Any]) -> int | None:
    caps = [count_field(body, name, 2**31) for name in _CAPS if body.get(name) is not None]
    return min([cap for cap in caps if cap is not None], default=None)


def _needs(body: Mapping[str, Any]) -> frozenset[str]:
    needs = set()
    if body.get("tools") or body.get("functions"):
        needs.add("tools")
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
        needs.add("json_schema")
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] in _MEDIA_NEEDS:
                needs.add(_MEDIA_NEEDS[part["type"]])
    if "audio" in (body.get("modalities") or []):
        needs.add("audio")
    return frozenset(needs)
