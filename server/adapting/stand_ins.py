"""What is said where a provider wants words and the conversation has none."""

from __future__ import annotations

from typing import Final

# A first turn of the user's, where the conversation begins with the assistant or has no turn.
BEGIN: Final = "Begin."
# An empty message.
EMPTY: Final = "(empty)"
# Of a call whose result is missing.
NO_RESULT: Final = "(no result)"
# Between a tool's result and the user's next words.
NOTED: Final = "Noted."
# In place of reasoning that was never written down.
NO_REASONING: Final = "(no reasoning recorded)"


def stray_result(text: str) -> str:
    """A tool's result whose call is not in the conversation."""
    return f"Result of an earlier tool call:\n{text}"
