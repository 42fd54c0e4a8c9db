"""Reasoning items that a caller keeps for us between two turns.

OpenAI stores nothing (`store: false`). It returns each reasoning item with encrypted content, to be
sent back before the item that followed it. An item may go back only to the account and the model
that made it, and only unchanged: content that another account encrypted is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from server.config.secret import Secret
from server.upstream.seal import sealed, unsealed

Item = dict[str, Any]
_KIND: Final = "openai.reasoning"
_TAG_BYTES: Final = 16
# The fields of an item that are sent back.
_KEPT: Final = ("type", "id", "summary", "encrypted_content")


@dataclass(frozen=True, slots=True)
class Thought:
    """A reasoning item and the item that followed it. before: the call_id of a call; None for a
    message, whose phase (commentary or final_answer) is kept too."""

    item: Mapping[str, Any] = field(repr=False)
    before: str | None = None
    phase: str | None = None


class Thoughts:
    """Seals the thoughts of one account, so that they are recognised when they come back."""

    def __init__(self, base_url: str, api_key: Secret | None) -> None:
        key = "" if api_key is None else api_key.reveal()
        account = f"{base_url}\n{key}".encode()
        self._key = hashlib.sha256(account).digest()

    def sealed(self, model: str, thought: Thought) -> str:
        """A thought as one string. model: the provider's name for the model that had it."""
        content: Item = {
            "type": _KIND,
            "item": dict(thought.item),
            "before": thought.before,
            "phase": thought.phase,
        }
        return sealed([content | {"tag": self._tag(model, content)}])

    def opened(self, model: str, data: object) -> Thought | None:
        """The thought; None for another account's or model's thought, and for one that has been
        changed."""
        for content in unsealed(data):
            tag = content.pop("tag", None)
            if not isinstance(tag, str) or not tag.isascii() or content.get("type") != _KIND:
                continue
            if hmac.compare_digest(tag, self._tag(model, content)):
                return Thought(content["item"], content["before"], content["phase"])
        return None

    def _tag(self, model: str, content: Item) -> str:
        message = orjson.dumps([model, content])
        return hmac.digest(self._key, message, "sha256")[:_TAG_BYTES].hex()


def as_kept(item: Mapping[str, Any]) -> Item | None:
    """A reasoning item of an answer in the form in which it is sent back; None where that is
    impossible."""
    if not isinstance(item.get("encrypted_content"), str) or not item["encrypted_content"]:
        return None
    kept: Item = {name: item[name] for name in _KEPT if name in item}
    return kept | {"summary": item.get("summary") or []}
