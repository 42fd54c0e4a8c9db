"""The shapes of the Responses API's answers, as far as they are translated."""

from __future__ import annotations

from typing import Final

from server.wire.chat_shape import LOGPROBS
from server.wire.shapes import NUMBER, OBJECT, TEXT, WHOLE, Each, Fields, OneOf

_PARTS: Final = Each(Fields((), type=TEXT, text=TEXT, refusal=TEXT, logprobs=LOGPROBS))
_CALL: Final = Fields((), call_id=TEXT, name=TEXT)
_ITEM: Final = OneOf(
    message=Fields((), content=_PARTS, phase=TEXT),
    reasoning=Fields((), id=TEXT, encrypted_content=TEXT, summary=_PARTS, content=_PARTS),
    function_call=_CALL,
    custom_tool_call=_CALL,
)
RESPONSE: Final = Fields(
    (),
    id=TEXT,
    model=TEXT,
    created_at=NUMBER,
    status=TEXT,
    service_tier=TEXT,
    output=Each(_ITEM),
    error=OBJECT,
    incomplete_details=OBJECT,
)
EVENT: Final = Fields(
    (),
    type=TEXT,
    response=RESPONSE,
    item=_ITEM,
    output_index=WHOLE,
    content_index=WHOLE,
    summary_index=WHOLE,
    delta=TEXT,
    logprobs=LOGPROBS,
)
