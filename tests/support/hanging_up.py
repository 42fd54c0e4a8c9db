"""A caller that is gone at a certain moment, and not after a certain time, which a busy machine may
take to bring the request to its provider."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx

# What is waited for, at most.
SOON_S = 20.0


def hang_up(
    url: str, path: str, body: dict[str, Any], once: Callable[[], object], **headers: str
) -> None:
    """Sends a request to the gateway and closes the connection once the condition holds."""
    content = json.dumps(body, separators=(",", ":")).encode()
    told = {"host": "localhost", **headers, "content-length": str(len(content))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port or 80)) as gone:
        gone.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        deadline = time.monotonic() + SOON_S
        while not once():
            assert time.monotonic() < deadline, "it has not come about"
            time.sleep(0.005)
