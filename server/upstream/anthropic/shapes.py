"""The shapes of the Messages API's answers, as far as they are translated."""

from __future__ import annotations

from typing import Final

from server.wire.shapes import OBJECT, TEXT, Each, Fields, OneOf

_BLOCK: Final = OneOf(
    text=Fields(("text",), text=TEXT),
    thinking=Fields((), thinking=TEXT, signature=TEXT),
    redacted_thinking=Fields(("data",), data=TEXT),
    tool_use=Fields((), id=TEXT, name=TEXT),
)
_DELTA: Final = OneOf(
    text_delta=Fields(("text",), text=TEXT),
    thinking_delta=Fields(("thinking",), thinking=TEXT),
    signature_delta=Fields(("signature",), signature=TEXT),
    input_json_delta=Fields((), partial_json=TEXT),
)
MESSAGE: Final = Fields((), id=TEXT, model=TEXT, content=Each(_BLOCK))
EVENT: Final = Fields(
    (),
    type=TEXT,
    message=Fields((), id=TEXT, model=TEXT),
    content_block=_BLOCK,
    delta=OBJECT,
)
# The delta of content_block_delta; that of message_delta has no type.
PIECE: Final = Fields((), delta=_DELTA)
