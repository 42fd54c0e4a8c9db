"""Adapts a request to the chosen model: by the facts about that model, what it refuses is
translated or left out, so that a caller need not know which model will answer."""

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
