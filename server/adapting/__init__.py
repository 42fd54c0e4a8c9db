"""A request is adapted to the model that is chosen: what that model refuses is translated or left
out by its facts, so that a caller need not know which model will answer."""

from __future__ import annotations

from server.adapting.chat import adapt_chat
from server.adapting.draft import Adapted
from server.adapting.messages import (
    adapt_messages,
    adapt_unknown_messages,
    with_all_tools_loaded,
)
from server.adapting.responses import adapt_responses

__all__ = [
    "Adapted",
    "adapt_chat",
    "adapt_messages",
    "adapt_responses",
    "adapt_unknown_messages",
    "with_all_tools_loaded",
]
