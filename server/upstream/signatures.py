"""Whose a signed or encrypted thought is: providers take back none but their own.

What one signs, redacts or encrypts is marked on its way to the caller with the account that made
it, and the mark is taken off on the way back. What bears another's mark is left out there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from server.config.secret import Secret
from server.upstream.seal import UNSIGNED, is_sealed

Block = Mapping[str, Any]
_MARK: Final = "p2ls."
_TAG_CHARACTERS: Final = 12
# Where each kind of thought has what its provider made.
_PLACES: Final = {"thinking": "signature", "redacted_thinking": "data"}


# How a refusal of thoughts is told from any other.
_REFUSED: Final = re.compile(rb"ignature|(thinking|redacted_thinking)`? blocks?|found `tool_use`")


class Signatures:
    """Those of one account."""

    def __init__(self, base_url: str, api_key: Secret | None) -> None:
        key = "" if api_key is None else api_key.reveal()
        digest = hashlib.sha256(f"signatures\n{base_url}\n{key}".encode()).hexdigest()
        self._mark = f"{_MARK}{digest[:_TAG_CHARACTERS]}."

    def marked_text(self, made: str) -> str:
        """What the account has made, marked."""
        return self._mark + made

    def own_text(self, made: str) -> str | None:
        """As the account made it, or as nobody here has marked it; None for another's."""
        if made.startswith(self._mark):
            return made.removeprefix(self._mark)
        return None if is_foreign(made) else made

    def marked(self, block: Block) -> Block:
        """A block of an answer, marked where it is a thought that is signed."""
        place = _PLACES.get(str(block.get("type")))
        made = None if place is None else block.get(place)
        if place is None or not isinstance(made, str) or not made:
            return block
        return {**block, place: self._mark + made}

    def marked_event(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An event of a streamed answer; itself where nothing in it is signed."""
        delta, block = event.get("delta"), event.get("content_block")
        if isinstance(delta, Mapping) and isinstance(delta.get("signature"), str):
            signature = delta["signature"]
            return {**event, "delta": {**delta, "signature": self._mark + signature}}
        if isinstance(block, Mapping):
            marked = self.marked(block)
            return event if marked is block else {**event, "content_block": marked}
        return event

    def own(self, block: Block, *, unsigned: bool) -> Block | None:
        """A thought as this account made it, or as nobody here has marked it: a conversation may
        have begun elsewhere. None for another's. unsigned: whether it takes what nobody signed."""
        place = _PLACES.get(str(block.get("type")), "")
        made = block.get(place)
        if not isinstance(made, str) or not made:
            return block if unsigned and place == "signature" else None
        own = self.own_text(made)
        if own is None:
            return None
        return block if own == made else {**block, place: own}


def is_foreign(made: object) -> bool:
    """Whether it was marked or sealed here, and is no signature that a provider would know."""
    return made == UNSIGNED or is_sealed(made) or (isinstance(made, str) and made.startswith(_MARK))


def is_thought(block: Any) -> bool:
    """Whether a block of a Messages body is a thought."""
    return isinstance(block, Mapping) and str(block.get("type")) in _PLACES


def is_about_thoughts(refusal: bytes) -> bool:
    """Whether thoughts of earlier turns are refused, or missed. refusal: what was answered."""
    return _REFUSED.search(refusal) is not None
