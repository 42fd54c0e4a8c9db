"""Shortens the names of a caller's users for a provider, which only needs to tell users apart."""

from __future__ import annotations

import hashlib
from typing import Final

# The limit of Anthropic's metadata.user_id.
ANTHROPIC_CHARACTERS: Final = 256


def shortened(user: str, most: int) -> str:
    """The same user under a name of at most this many characters; unchanged where it is short
    enough."""
    if len(user) <= most:
        return user
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:most]
