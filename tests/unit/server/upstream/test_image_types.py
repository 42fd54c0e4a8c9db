"""The type of an image is that of its bytes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from server.upstream.image_types import image_type, with_image_type

FILES = {
    "image/png": b"\x89PNG\r\n\x1a\n" + b"\0" * 20,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 20,
    "image/gif": b"GIF89a" + b"\0" * 20,
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 20,
}


@pytest.mark.parametrize("declared", ["image/png", "image/jpg", "image/webp"])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_says_what_it_is(kind: str, declared: str) -> None:
    assert image_type(declared, base64.b64encode(FILES[kind]).decode()) == kind


@pytest.mark.parametrize("data", ["", "AAAA", "not base64!", "iVB"])
def test_what_is_not_known_is_what_it_is_called(data: str) -> None:
    assert image_type("image/tiff", data) == "image/tiff"
    assert image_type("image/jpg", data) == "image/jpeg"


def test_images_in_results_too() -> None:
    data = base64.b64encode(FILES["image/jpeg"]).decode()

    def block(kind: str) -> dict[str, Any]:
        source = {"type": "base64", "media_type": kind, "data": data}
        image = {"type": "image", "source": source}
        return {"type": "tool_result", "tool_use_id": "t", "content": [image]}

    right = block("image/jpeg")
    assert with_image_type(right) is right
    assert with_image_type(block("image/png")) == right
