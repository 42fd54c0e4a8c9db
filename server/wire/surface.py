"""The APIs that are spoken."""

from __future__ import annotations

from enum import StrEnum


class Surface(StrEnum):
    """The APIs that are spoken, by their path under /v1: by callers to us, by us to providers.

    CHAT is the one that every provider is made to speak; the others go out only where the
    provider has them itself.
    """

    CHAT = "chat/completions"
    RESPONSES = "responses"
    COMPACT = "responses/compact"
    MESSAGES = "messages"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
