"""Normalises paths: a client's base_url may add slashes or a second /v1."""

from __future__ import annotations

import re
from typing import Final

_SLASHES: Final = re.compile(r"/{2,}")
_TWICE: Final = re.compile(r"^/v1(?:/v1)+(?=/)")
_SERVED: Final = re.compile(r"^/+v1/")


def plain_path(path: str) -> str:
    """The path that is served; the same one where nothing needs to be changed."""
    if not _SERVED.match(path) or not ("//" in path or path.endswith("/") or "/v1/v1/" in path):
        return path
    return _TWICE.sub("/v1", _SLASHES.sub("/", path)).rstrip("/")
