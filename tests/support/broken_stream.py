"""Reads streamed answers that end with a broken connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx


class Streamed(NamedTuple):
    """is_broken: the connection was, before the answer had come to its end."""

    status_code: int
    headers: httpx.Headers
    text: str
    is_broken: bool


def read_stream(
    client: httpx.Client,
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> Streamed:
    """All that comes of an answer, broken or not."""
    pieces: list[bytes] = []
    is_broken = False
    with client.stream("POST", path, json=body, headers=headers) as answer:
        try:
            pieces += answer.iter_bytes()
        except httpx.RemoteProtocolError:
            is_broken = True
        return Streamed(answer.status_code, answer.headers, b"".join(pieces).decode(), is_broken)
