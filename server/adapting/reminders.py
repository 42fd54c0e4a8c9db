"""Converts system messages in the middle of a conversation, for models that do not support them.

They become text of the user's turn, in the tag that coding agents use for text which is not the
user's own; models are used to it.
"""

from __future__ import annotations

from typing import Final

_OPEN: Final = "<system-reminder>"
_CLOSE: Final = "</system-reminder>"


def reminder(text: str) -> str:
    """The text in its tag; unchanged where it is in one already."""
    bare = text.strip()
    if bare.startswith(_OPEN) and bare.endswith(_CLOSE):
        return bare
    return f"{_OPEN}\n{bare}\n{_CLOSE}"
