"""Removes text that clients write into the system prompt for Anthropic's servers alone.

Claude Code begins it with a line that counts usage and changes from request to request. It means
nothing to a model, and with other providers it would make every prompt cache useless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

NOTE: Final = "x-anthropic-billing-header"
_LINE: Final = re.compile(rf"\A{NOTE}:[^\n]*\n*")


def without_note(text: str) -> str:
    """The text of a system prompt, or of a block of one, without that line."""
    return _LINE.sub("", text, count=1) if text.startswith(NOTE) else text


def system_without_note(system: Any) -> Any:
    """The system prompt of a Messages body without that line; unchanged where it has none."""
    if isinstance(system, str):
        return without_note(system)
    if not isinstance(system, list):
        return system
    kept = []
    for block in system:
        text = block.get("text") if isinstance(block, Mapping) else None
        bare = without_note(text) if isinstance(text, str) else text
        if bare is text:
            kept.append(block)
        elif bare:
            kept.append({**block, "text": bare})
    return system if len(kept) == len(system) and all(map(_is_same, kept, system)) else kept


def _is_same(one: object, other: object) -> bool:
    return one is other
