"""The values of x-p2l-kept: which part of its session decided a request."""

from __future__ import annotations

from typing import Final

# The model that made the calls; the one that gave the last answer, since a change is not worth its
# price; the draw of an earlier request; or a new one.
TOOL_LOOP: Final = "tool_loop"
CACHE: Final = "cache"
DRAW: Final = "draw"
NEW: Final = "new"
