"""What the adapters for native APIs share: reading a chat-completions body, and refusing what
cannot be expressed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from server.upstream.asked import asked

_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)(?:;[a-z0-9=-]+)*;base64,", re.IGNORECASE)
# Multi-agent frameworks name the assistant's messages: the answer does not depend on it.
_NAMED_BY_FRAMEWORKS: Final = frozenset({"assistant", "function", "tool"})
CAPS: Final = ("max_completion_tokens", "max_tokens")


class InexpressibleError(Exception):
    """The API cannot express something; the message names it, as in "cannot express a seed"."""


def check_fields(body: Mapping[str, Any], inexpressible: Mapping[str, str]) -> dict[str, Any]:
    """The fields that ask for something. inexpressible: essential fields that the API cannot
    express; other unknown fields are left out (see left_out).

    Raises InexpressibleError for the first field that cannot be expressed.
    """
    wanted = asked(body)
    for name in wanted:
        if name in inexpressible:
            raise InexpressibleError(f"{name}: {inexpressible[name]}")
    for message in body["messages"]:
        if message.get("name") and message["role"] not in _NAMED_BY_FRAMEWORKS:
            raise InexpressibleError("names of messages")
        if message["role"] == "function" or message.get("function_call"):
            raise InexpressibleError("functions: use tools")
        if message.get("audio"):
            raise InexpressibleError("an earlier answer in audio")
    return wanted


def check_bounded(body: Mapping[str, Any], unbounded: frozenset[str]) -> None:
    """Raises InexpressibleError where a bounded request has a field whose effect cannot be bounded.
    unbounded: the API's own fields of that kind."""
    for name in unbounded:
        if body.get(name) is not None:
            raise InexpressibleError(
                f"{name} within a budget, a window or a key's limits, which cannot bound it"
            )


def left_out(body: Mapping[str, Any], known: frozenset[str]) -> tuple[str, ...]:
    """The fields that are not sent. known: those that the API can express."""
    names = {name for name in asked(body) if name not in known}
    if any(m["role"] == "assistant" and m.get("name") for m in body["messages"]):
        names.add("messages.name")
    for part in _parts_of_all(body):
        image = part.get("image_url")
        if isinstance(image, Mapping) and image.get("detail") not in (None, "auto"):
            names.add("image_url.detail")
    return tuple(sorted(names))


def output_cap(body: Mapping[str, Any]) -> int | None:
    """The cap on output tokens, from the caller or from a hard budget."""
    caps = [body[name] for name in CAPS if body.get(name) is not None]
    return min(caps, default=None)


def stop_sequences(body: Mapping[str, Any]) -> list[str]:
    """`stop` as a list. An empty text stops at nothing, and is refused."""
    stop = body.get("stop")
    if stop is None:
        return []
    return [one for one in ([stop] if isinstance(stop, str) else stop) if one != ""]


def parts(content: object) -> Iterator[Mapping[str, Any]]:
    """Content as parts; text alone is one part."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from content


def text_of(content: object) -> str:
    """The text of content that must be text. Raises InexpressibleError."""
    texts = []
    for part in parts(content):
        if part["type"] not in ("text", "refusal"):
            raise InexpressibleError(f"{part['type']} parts there")
        texts.append(str(part.get("text", part.get("refusal", ""))))
    return "".join(texts)


def image_url(part: Mapping[str, Any]) -> str:
    """The URL of an image part. Raises InexpressibleError."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        raise InexpressibleError("an image without a url")
    return url


def data_url(url: str) -> tuple[str, str] | None:
    """Returns (media type, base64) of a data URL; None where it is not one."""
    found = _DATA_URL.match(url)
    return None if found is None else (found[1].lower(), url[found.end() :])


def file_data(part: Mapping[str, Any]) -> tuple[str, str]:
    """Returns (media type, base64) of a file part. Raises InexpressibleError."""
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, Mapping) else None
    if not isinstance(data, str):
        raise InexpressibleError("a file by its id")
    found = data_url(data)
    if found is None:
        raise InexpressibleError("a file that is not a base64 data URL")
    return found


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call's arguments as an object. Raises InexpressibleError."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        raise InexpressibleError("calls of custom tools")
    text = function.get("arguments") or "{}"
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InexpressibleError("a tool call whose arguments are not a JSON object")
    return parsed


def functions_of(tools: object) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yields (tool, its function) for each tool. Raises InexpressibleError."""
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InexpressibleError("tools that are not functions")
        yield tool, function


def chosen_function(choice: object) -> str:
    """The function's name in a tool_choice that is an object. Raises InexpressibleError."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise InexpressibleError("this tool_choice")
    return name


def _parts_of_all(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for message in body["messages"]:
        yield from parts(message.get("content"))
