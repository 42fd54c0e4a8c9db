"""Marks signed or encrypted thoughts with their origin: a provider accepts only its own.

What a provider signs, redacts or encrypts is marked, on its way to the caller, with the account
that made it; the mark is removed on the way back. Content with another account's mark is left out.
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
# The field of each kind of thought that holds the provider's data.
_PLACES: Final = {"thinking": "signature", "redacted_thinking": "data"}


# Recognises a refusal of thoughts.
_REFUSED: Final = re.compile(rb"ignature|(thinking|redacted_thinking)`? blocks?|found `tool_use`")


class Signatures:
    """The marks of one account."""

    def __init__(self, base_url: str, api_key: Secret | None) -> None:
        key = "" if api_key is None else api_key.reveal()
        digest = hashlib.sha256(f"signatures\n{base_url}\n{key}".encode()).hexdigest()
        self._mark = f"{_MARK}{digest[:_TAG_CHARACTERS]}."

    def marked_text(self, made: str) -> str:
        """The account's data with its mark."""
        return self._mark + made

    def own_text(self, made: str) -> str | None:
        """The data as the account made it, or data without any mark; None for another account's."""
        if made.startswith(self._mark):
            return made.removeprefix(self._mark)
        return None if is_foreign(made) else made

    def marked(self, block: Any) -> Any:
        """A block of an answer, marked where it is a signed thought."""
        if not isinstance(block, Mapping):
            return block
        place = _PLACES.get(str(block.get("type")))
        made = None if place is None else block.get(place)
        if place is None or not isinstance(made, str) or not made:
            return block
        return {**block, place: self._mark + made}

    def marked_event(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An event of a streamed answer, marked; the same object where nothing in it is signed."""
        delta, block = event.get("delta"), event.get("content_block")
        if isinstance(delta, Mapping) and isinstance(delta.get("signature"), str):
            signature = delta["signature"]
            return {**event, "delta": {**delta, "signature": self._mark + signature}}
        if isinstance(block, Mapping):
            marked = self.marked(block)
            return event if marked is block else {**event, "content_block": marked}
        return event

    def own(self, block: Block, *, unsigned: bool) -> Block | None:
        """A thought as this account made it, or one without any mark, since a conversation may have
        begun elsewhere. None for another account's. unsigned: whether the provider accepts unsigned
        thoughts."""
        place = _PLACES.get(str(block.get("type")), "")
        made = block.get(place)
        if not isinstance(made, str) or not made:
            return block if unsigned and place == "signature" else None
        own = self.own_text(made)
        if own is None:
            return None
        return block if own == made else {**block, place: own}


def is_foreign(made: object) -> bool:
    """Whether it was marked or sealed here, so that no provider would accept it as a signature."""
    return made == UNSIGNED or is_sealed(made) or (isinstance(made, str) and made.startswith(_MARK))


def is_thought(block: Any) -> bool:
    """Whether a block of a Messages body is a thought."""
    return isinstance(block, Mapping) and str(block.get("type")) in _PLACES


def is_about_thoughts(refusal: bytes) -> bool:
    """Whether a refusal concerns thoughts of earlier turns, refused or missing. refusal: the body
    of the answer."""
    return _REFUSED.search(refusal) is not None
