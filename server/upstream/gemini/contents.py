"""Converts OpenAI's messages to Gemini's contents."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from server.upstream.carried import signature_of, signatures_kept
from server.upstream.dialect import (
    InexpressibleError,
    arguments_of,
    data_url,
    file_data,
    image_url,
    parts,
    text_of,
)
from server.upstream.history import mended, targets
from server.upstream.image_types import image_type

Part = dict[str, Any]
# Restores a signature as its account made it; None for another account's signature.
Own = Callable[[str], str | None]
_SYSTEM: Final = frozenset({"system", "developer"})
_TEXTS: Final = frozenset({"text", "refusal"})
# A placeholder for the signature of another provider's call; newer models require a signature.
NO_SIGNATURE: Final = "skip_thought_signature_validator"


def system_and_contents(
    given: Sequence[Mapping[str, Any]], *, sign: bool, own: Own = str
) -> tuple[list[Part], list[Part]]:
    """Returns (system parts, contents); adjacent contents of one role are merged. sign: whether the
    model requires a signature at its calls. own: see Own.

    Raises InexpressibleError.
    """
    messages = mended(given, targets.GEMINI)
    n_system = 0
    while n_system < len(messages) and messages[n_system]["role"] in _SYSTEM:
        n_system += 1
    system = [{"text": text_of(m.get("content"))} for m in messages[:n_system]]
    contents: list[Part] = []
    names: dict[str, str] = {}
    for message in messages[n_system:]:
        role, said = _content(message, names, sign=sign, own=own)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += said
        elif said:
            contents.append({"role": role, "parts": said})
    if contents[-1]["role"] != "user":
        raise InexpressibleError("an answer that is begun by the caller")
    return [part for part in system if part["text"]], contents


def _content(
    message: Mapping[str, Any], names: dict[str, str], *, sign: bool, own: Own
) -> tuple[str, list[Part]]:
    role = message["role"]
    if role == "tool":
        return "user", [_response(message, names), *_shown(message)]
    if role == "assistant":
        return "model", list(_said(message, names, sign=sign, own=own))
    said = [_part(part) for part in parts(message.get("content")) if part.get("text") != ""]
    return "user", said


def _said(
    message: Mapping[str, Any], names: dict[str, str], *, sign: bool, own: Own
) -> Iterator[Part]:
    text = text_of(message.get("content"))
    kept = signatures_kept(message) if "thinking_blocks" in message else {}
    if text:
        yield {"text": text} | _signed(message, kept.get(None), own)
    for number, call in enumerate(message.get("tool_calls") or ()):
        arguments = arguments_of(call)
        name = names[call["id"]] = call["function"]["name"]
        part: Part = {"functionCall": {"id": call["id"], "name": name, "args": arguments}}
        signature = _signed(call, kept.get(call["id"]), own)
        if sign and number == 0 and not signature:
            # Of several calls made together only the first is signed.
            signature = {"thoughtSignature": NO_SIGNATURE}
        yield part | signature


def _signed(said: Mapping[str, Any], kept: str | None, own: Own) -> Part:
    """A part with its signature. kept: a signature that the caller has carried for it in another
    API."""
    given = signature_of(said) or kept
    signature = None if given is None else own(given)
    return {} if signature is None else {"thoughtSignature": signature}


def _response(message: Mapping[str, Any], names: Mapping[str, str]) -> Part:
    identifier = message.get("tool_call_id")
    name = names[str(identifier)]
    texts = [part for part in parts(message.get("content")) if part["type"] in _TEXTS]
    result = _result(text_of(texts))
    return {"functionResponse": {"id": identifier, "name": name, "response": result}}


def _shown(message: Mapping[str, Any]) -> Iterator[Part]:
    """The images in a tool's result: a functionResponse can hold only text, so they stand beside
    it."""
    for part in parts(message.get("content")):
        if part["type"] not in _TEXTS:
            yield _part(part)


def _result(text: str) -> dict[str, Any]:
    """A JSON object as it is; any other result under the name from the API's reference."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = text
    return parsed if isinstance(parsed, dict) else {"output": parsed}


def _part(part: Mapping[str, Any]) -> Part:
    match part["type"]:
        case "text":
            return {"text": part["text"]}
        case "image_url":
            return _image(image_url(part))
        case "input_audio":
            return _sound(part["input_audio"])
        case "file":
            return _inline(*file_data(part))
        case kind:
            raise InexpressibleError(f"{str(kind)[:40]} parts")


def _sound(sound: Mapping[str, Any]) -> Part:
    kind, data = sound.get("format"), sound.get("data")
    if not isinstance(kind, str) or not kind or not isinstance(data, str):
        raise InexpressibleError("a sound without its format")
    return _inline(f"audio/{kind}", data)


def _image(url: str) -> Part:
    data = data_url(url)
    if data is not None:
        return _inline(image_type(*data), data[1])
    kind, _ = mimetypes.guess_type(urlsplit(url).path)
    if kind is None or not kind.startswith("image/") or not url.startswith("https://"):
        raise InexpressibleError(
            "an image that is neither a base64 data URL nor an https address ending in its type"
        )
    return {"fileData": {"mimeType": kind, "fileUri": url}}


def _inline(kind: str, data: str) -> Part:
    return {"inlineData": {"mimeType": kind, "data": data}}
