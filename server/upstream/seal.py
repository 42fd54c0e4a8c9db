"""Thoughts on their way through a caller: sealed, so that they come back as they were given.

A caller sends them back and cannot read them: as `encrypted_content` of a Responses item, as the
`signature` of a thinking block, as `data` in `reasoning_details`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson

# What is sealed here begins with it: it is ours to read back, and no provider's.
SEAL: Final = "p2l1."
# The signature of thoughts that nobody signed.
UNSIGNED: Final = "p2l-unsigned"


def sealed(thoughts: list[Any]) -> str:
    """Thoughts as one string."""
    return SEAL + base64.b64encode(orjson.dumps(thoughts)).decode()


def is_sealed(content: object) -> bool:
    """Whether it was sealed here, as far as its beginning tells."""
    return isinstance(content, str) and content.startswith(SEAL)


def unsealed(content: object) -> list[dict[str, Any]]:
    """The thoughts that were sealed here; none of anybody else's, and none of garbage."""
    if not isinstance(content, str) or not content.startswith(SEAL):
        return []
    try:
        thoughts = orjson.loads(base64.b64decode(content.removeprefix(SEAL), validate=True))
    except (binascii.Error, ValueError):
        return []
    return [t for t in thoughts if isinstance(t, dict)] if isinstance(thoughts, list) else []
