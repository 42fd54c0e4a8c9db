"""Names of a caller's users, within what a provider takes: it only tells users apart by them."""

from __future__ import annotations

import hashlib
from typing import Final

# Of Anthropic's metadata.user_id.
ANTHROPIC_CHARACTERS: Final = 256


def shortened(user: str, most: int) -> str:
    """The same user under a name of so many characters at most; itself where it is no longer."""
    if len(user) <= most:
        return user
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:most]
