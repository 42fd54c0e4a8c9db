"""Placeholder texts where a provider requires text and the conversation has none."""

from __future__ import annotations

from typing import Final

# A first user turn, where the conversation begins with the assistant or has no turn.
BEGIN: Final = "Begin."
# An empty message.
EMPTY: Final = "(empty)"
# The result of a call whose result is missing.
NO_RESULT: Final = "(no result)"
# An answer between a tool's result and the user's next text.
NOTED: Final = "Noted."
# A user's turn after an assistant's, where a model answers only to the user.
CONTINUE: Final = "Continue."
# The same, where the answer is to continue the assistant's text.
GO_ON: Final = "Continue your last message from exactly where it ends. Do not repeat any of it."
# Replaces reasoning that was not recorded.
NO_REASONING: Final = "(no reasoning recorded)"


def stray_result(text: str) -> str:
    """The result of a tool whose call is not in the conversation."""
    return f"Result of an earlier tool call:\n{text}"
