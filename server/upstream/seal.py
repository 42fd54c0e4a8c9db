"""Seals thoughts for their way through a caller, so that they come back as they were given.

A caller sends them back without being able to read them: as `encrypted_content` of a Responses
item, as the `signature` of a thinking block, or as `data` in `reasoning_details`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

from server.wire.shapes import objects

# The prefix of what is sealed here: only this gateway can read it, and no provider.
SEAL: Final = "p2l1."
# The signature of unsigned thoughts.
UNSIGNED: Final = "p2l-unsigned"


def sealed(thoughts: list[Any]) -> str:
    """Thoughts as one string."""
    return SEAL + base64.b64encode(orjson.dumps(thoughts)).decode()


def is_sealed(content: object) -> bool:
    """Whether the content was sealed here, judged by its prefix."""
    return isinstance(content, str) and content.startswith(SEAL)


def unsealed(content: object) -> list[dict[str, Any]]:
    """The thoughts that were sealed here; an empty list for anything else."""
    if not isinstance(content, str) or not content.startswith(SEAL):
        return []
    try:
        thoughts = orjson.loads(base64.b64decode(content.removeprefix(SEAL), validate=True))
    except (binascii.Error, ValueError):
        return []
    return objects(thoughts)
