"""Converts ids of tool calls to a provider's own alphabet: other providers' ids have another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

_ANTHROPIC: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MISTRAL: Final = re.compile(r"[a-zA-Z0-9]{9}")
_MOST_IN_CHAT: Final = 40
_MOST_IN_RESPONSES: Final = 64
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CARRIERS: Final[Mapping[str, str]] = {"tool_use": "id", "tool_result": "tool_use_id"}


def anthropic_id(given: object) -> str:
    """The id as Anthropic accepts it; the same for a call and its result, in every turn."""
    name = str(given or "")
    if _ANTHROPIC.fullmatch(name):
        return name
    return "toolu_" + hashlib.blake2b(_bytes(name), digest_size=16).hexdigest()


def mistral_id(given: object) -> str:
    """An id of nine letters and digits."""
    name = str(given or "")
    if _MISTRAL.fullmatch(name):
        return name
    number = int.from_bytes(hashlib.blake2b(_bytes(name), digest_size=8).digest())
    return "".join(_LETTERS[number // 62**place % 62] for place in range(9))


def openai_id(given: object) -> str:
    """The id as OpenAI's Chat Completions accept it: its length is limited."""
    return _no_longer(str(given or ""), _MOST_IN_CHAT)


def responses_id(given: object) -> str:
    """The id as OpenAI's Responses API accepts it."""
    return _no_longer(str(given or ""), _MOST_IN_RESPONSES)


def _no_longer(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    return "call_" + hashlib.blake2b(_bytes(name), digest_size=16).hexdigest()


def with_anthropic_ids(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Messages body with acceptable ids only; the same object where they are acceptable
    already."""
    turns = body.get("messages")
    if not isinstance(turns, list):
        return body
    changed = [_turn(turn) for turn in turns]
    if all(new is old for new, old in zip(changed, turns, strict=True)):
        return body
    return {**body, "messages": changed}


def _turn(turn: Any) -> Any:
    blocks = turn.get("content") if isinstance(turn, Mapping) else None
    if not isinstance(blocks, list):
        return turn
    changed = [_block(block) for block in blocks]
    if all(new is old for new, old in zip(changed, blocks, strict=True)):
        return turn
    return {**turn, "content": changed}


def _block(block: Any) -> Any:
    name = _CARRIERS.get(str(block.get("type"))) if isinstance(block, Mapping) else None
    if name is None or not isinstance(block.get(name), str):
        return block
    taken = anthropic_id(block[name])
    return block if taken == block[name] else {**block, name: taken}


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
