"""The shape of generateContent's answers, as far as they are translated."""

from __future__ import annotations

from typing import Final

from server.wire.shapes import OBJECT, TEXT, WHOLE, Each, Fields

_CALL: Final = Fields((), id=TEXT, name=TEXT)
_PART: Final = Fields((), text=TEXT, thoughtSignature=TEXT, functionCall=_CALL)
_CONTENT: Final = Fields((), parts=Each(_PART))
_CANDIDATE: Final = Fields((), content=_CONTENT, index=WHOLE)
ANSWER: Final = Fields(
    (),
    candidates=Each(_CANDIDATE),
    promptFeedback=OBJECT,
    responseId=TEXT,
    modelVersion=TEXT,
)
