"""The data of an answer that its provider wants back with the next turn, in the form of chat
completions, and sealed for callers of other APIs.

`thinking_blocks` (the Messages API), `reasoning_details` (sealed reasoning of OpenAI's) and
`extra_content` (Gemini's signatures) are fields of the assistant's messages. Unsigned thoughts come
back as thinking blocks, since DeepSeek requires them, and so do Gemini's signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from server.upstream.seal import UNSIGNED, sealed, unsealed

Said = Mapping[str, Any]
GOOGLE: Final = "google.signature"
_OPENAI: Final = "openai.reasoning"


def carried(said: Said) -> list[dict[str, Any]]:
    """All data of a message, or of a streamed part of one, that is to be sent back."""
    blocks = [dict(b) for b in _list(said.get("thinking_blocks")) if isinstance(b, Mapping)]
    for entry in _list(said.get("reasoning_details")):
        blocks += unsealed(entry.get("data")) if isinstance(entry, Mapping) else []
    return blocks + signatures_in(said)


def signatures_in(said: Said) -> list[dict[str, Any]]:
    """Gemini's signatures, each with the id of its call; None for the signature of the text."""
    found = [(None, said), *((call.get("id"), call) for call in _list(said.get("tool_calls")))]
    return [
        {"type": GOOGLE, "call": identifier, "signature": signature}
        for identifier, holder in found
        if (signature := signature_of(holder)) is not None
    ]


def are_signatures(thoughts: Sequence[Said]) -> bool:
    """Whether there are only Gemini's signatures, and no reasoning."""
    return all(thought.get("type") == GOOGLE for thought in thoughts)


def text_of_summary(item: Said) -> str:
    """The text of a reasoning item of the Responses API."""
    parts = [*_list(item.get("summary")), *_list(item.get("content"))]
    return "\n\n".join(str(p.get("text") or "") for p in parts if isinstance(p, Mapping))


def put_back(message: dict[str, Any], thoughts: Sequence[Said], words: str = "") -> None:
    """Puts the data where the provider looks for it. message: a whole message of the assistant.
    words: the thoughts as the caller saw them."""
    blocks, details = [], []
    for thought in thoughts:
        if thought.get("type") == _OPENAI:
            details.append({"type": "reasoning.encrypted", "data": sealed([dict(thought)])})
        else:
            blocks.append(thought)
    if words and not any(block.get("thinking") for block in blocks):
        blocks.append({"type": "thinking", "thinking": words, "signature": UNSIGNED})
    if blocks:
        message["thinking_blocks"] = [*_list(message.get("thinking_blocks")), *blocks]
    if details:
        message["reasoning_details"] = [*_list(message.get("reasoning_details")), *details]


def signatures_kept(message: Said) -> dict[str | None, str]:
    """Gemini's signatures that a caller has sent back, by the id of the call; None: that of the
    text."""
    return {
        block.get("call"): block["signature"]
        for block in _list(message.get("thinking_blocks"))
        if isinstance(block, Mapping)
        and block.get("type") == GOOGLE
        and isinstance(block.get("signature"), str)
    }


def signature_of(holder: Said) -> str | None:
    """Gemini's signature of a message or a call, in the form of Google's own OpenAI endpoint."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    return signature if isinstance(signature, str) and signature else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def sealed_in(said: Said) -> Iterator[str]:
    """The same data as strings: sealed data as it is, Gemini's signatures together."""
    for entry in _list(said.get("reasoning_details")):
        data = entry.get("data") if isinstance(entry, Mapping) else None
        if unsealed(data):
            yield str(data)
    signatures = signatures_in(said)
    if signatures:
        yield sealed(signatures)
