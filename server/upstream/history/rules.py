"""The rules that say what a provider accepts in a conversation, in the form of chat completions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a conversation must look for a provider.

    system: where system messages may stand: anywhere; leading (several at the beginning); first
    (one, at the beginning). Others become part of the user's turns. kept: the accepted fields of
    the assistant's messages, None: all but `foreign`. foreign: see kept. kept_of_others: the
    accepted fields of all other messages, None: all. call_fields: the accepted fields of tool
    calls, None: all. part_fields_refused: fields of content parts that are removed. call_id:
    converts an id to the provider's alphabet. takes_refusals: whether the assistant's refusals may
    stand apart from its text. user_first: whether the first message after the system messages must
    be the user's. user_last: whether the last message may not be the assistant's: the model would
    continue or refuse it. alternates: whether two messages of the user, or of the assistant, may
    not follow each other. answers_tools: whether a user's message may not directly follow a tool's
    result. takes_empty: whether a user's message may be empty. json_arguments: whether the
    arguments of a call must be a JSON object. plain_text: whether content of text alone must be one
    string.
    reasoning: whether a message with tool calls has its reasoning_content: has_to; where_known;
    as_given. opens_seals: whether reasoning that was sealed here may be the provider's own.
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
    user_last: bool = False
    alternates: bool = False
    answers_tools: bool = False
    takes_empty: bool = False
    json_arguments: bool = True
    plain_text: bool = False
    reasoning: Literal["has_to", "where_known", "as_given"] = "as_given"
    opens_seals: bool = False
