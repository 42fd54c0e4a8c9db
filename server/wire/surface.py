"""The surfaces: APIs that callers and providers speak."""

from __future__ import annotations

from enum import StrEnum


class Surface(StrEnum):
    """The APIs of callers and providers, by their path under /v1.

    CHAT is available for every provider, by translation where needed; the others are sent only to
    providers that have them.
    """

    CHAT = "chat/completions"
    RESPONSES = "responses"
    COMPACT = "responses/compact"
    MESSAGES = "messages"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
