"""Finds the type of an image: Anthropic refuses one that was declared to be of another type."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

# How the files of each type begin.
_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
# Names that are not registered, as browsers and tools write them.
_ALIASES: Final[Mapping[str, str]] = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}
_HEAD_CHARACTERS: Final = 24


def image_type(declared: str, data: str) -> str:
    """The media type of an image. declared: as the caller names it; data: base64."""
    try:
        head = base64.b64decode(data[:_HEAD_CHARACTERS], validate=True)
    except (binascii.Error, ValueError):
        head = b""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    return _ALIASES.get(declared.lower(), declared)


def with_image_type(block: Any) -> Any:
    """A block of the Messages API whose image, or whose result's images, have their own types; the
    same object where they have them already."""
    if not isinstance(block, Mapping):
        return block
    content = block.get("content")
    if isinstance(content, list):
        fitted = [with_image_type(inner) for inner in content]
        same = all(new is old for new, old in zip(fitted, content, strict=True))
        return block if same else {**block, "content": fitted}
    source = block.get("source") if block.get("type") == "image" else None
    if not isinstance(source, Mapping) or not isinstance(source.get("data"), str):
        return block
    declared = str(source.get("media_type"))
    kind = image_type(declared, source["data"])
    return block if kind == declared else {**block, "source": {**source, "media_type": kind}}
