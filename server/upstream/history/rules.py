"""What a provider takes of a conversation in the form of chat completions, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of a conversation goes out, and how.

    system: where system messages may stand: anywhere; leading (several at the beginning); first
    (one, at the beginning). Others are said in the user's turns. kept: the fields of the
    assistant's messages that are taken, None: all but `foreign`. foreign: see kept. kept_of_others:
    the fields of all other messages, None: all. call_fields: those of tool calls, None: all.
    part_fields_refused: fields of parts of content that go nowhere. call_id: an id in the
    provider's alphabet. takes_refusals: the assistant's refusals may stand apart from its text.
    user_first: the first message after those of the system has to be the user's. alternates: no two
    messages of the user, or of the assistant, may follow each other. answers_tools: a user's
    message may not follow a tool's result at once. takes_empty: a message of the user's may be
    empty. json_arguments: the arguments of a call have to be a JSON object. plain_text: content
    that is text alone has to be one string. reasoning: whether a message with tool calls has its
    reasoning_content: has_to; where_known; as_given. opens_seals: the reasoning that was sealed
    here may be the provider's own.
    """

    system: Literal["anywhere", "leading", "first"] = "first"
    kept: frozenset[str] | None = None
    foreign: frozenset[str] = frozenset()
    kept_of_others: frozenset[str] | None = None
    call_fields: frozenset[str] | None = None
    part_fields_refused: frozenset[str] = frozenset()
    call_id: Callable[[object], str] | None = None
    takes_refusals: bool = False
    user_first: bool = True
    alternates: bool = False
    answers_tools: bool = False
    takes_empty: bool = False
    json_arguments: bool = True
    plain_text: bool = False
    reasoning: Literal["has_to", "where_known", "as_given"] = "as_given"
    opens_seals: bool = False
