"""Facts about a model that the configuration states in place of the table: `models.NAME.facts`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from server.config.settings.fields import Section
from server.model_facts.types import (
    CacheKind,
    CapField,
    Effort,
    ForcedTools,
    KeptAtOtherEffort,
    OnChatCompletions,
    Refused,
    SystemLater,
    ThinkingKind,
    ThinkingOff,
    ThinkingUse,
)


class LimitFacts(Section):
    """Limits in tokens.

    max_input_tokens: the limit of the input alone. default_output_tokens: where the provider stops
    when a request has no output cap.
    """

    max_input_tokens: PositiveInt | None = None
    default_output_tokens: PositiveInt | None = None


class SamplingFacts(Section):
    """When the model refuses a parameter: never, while it thinks, or always.

    penalties: frequency_penalty and presence_penalty. both: whether it accepts temperature and
    top_p in one request. most_temperature: the highest temperature that it accepts.
    """

    temperature: Refused | None = None
    top_p: Refused | None = None
    top_k: Refused | None = None
    penalties: Refused | None = None
    logprobs: Refused | None = None
    logit_bias: Refused | None = None
    stop: Refused | None = None
    both: bool | None = None
    most_temperature: PositiveFloat | None = None


class ThinkingFacts(Section):
    """How the model thinks.

    use: whether the model thinks. kinds: the ways in which it can be told to think. off: how it is
    told not to think. efforts: the efforts that it accepts, lowest first; an empty list: it refuses
    the parameter. on_responses_only: efforts that only /v1/responses accepts. default_effort: the
    effort where the request names none. most_effort_when_off: the highest effort that it accepts
    while its thinking is turned off. least_budget_tokens: the smallest budget for thinking.
    most_budget_tokens: the largest budget for thinking. tool_turns_need_thoughts: whether it
    refuses tool calls that come back without their thoughts. bound_to_prefix: whether it refuses
    thoughts once the conversation before them has changed.
    """

    use: ThinkingUse | None = None
    kinds: frozenset[ThinkingKind] | None = None
    off: ThinkingOff | None = None
    efforts: tuple[Effort, ...] | None = None
    on_responses_only: frozenset[Effort] | None = None
    default_effort: Effort | None = None
    most_effort_when_off: Effort | None = None
    least_budget_tokens: PositiveInt | None = None
    most_budget_tokens: PositiveInt | None = None
    tool_turns_need_thoughts: bool | None = None
    bound_to_prefix: bool | None = None


class ToolFacts(Section):
    """What the model accepts about tools.

    on_chat_completions: whether chat completions accept function tools: ok, not_with_effort (not
    beside a reasoning_effort other than none), only_at_none (only beside reasoning_effort none),
    refused. forced: whether tool_choice may force a call. id_pattern: a regular expression for the
    ids of calls. id_most_characters: the longest id of a call. ids_unique: whether an id must be
    unique in a conversation. name_pattern: a regular expression for the names of tools.
    name_most_characters: the longest name of a tool. most: the largest number of tools in a
    request. parallel_field: whether it accepts parallel_tool_calls. deferred: whether it supports
    tools that are loaded later, and references to them.
    """

    on_chat_completions: OnChatCompletions | None = None
    forced: ForcedTools | None = None
    id_pattern: str | None = None
    id_most_characters: PositiveInt | None = None
    ids_unique: bool | None = None
    name_pattern: str | None = None
    name_most_characters: PositiveInt | None = None
    most: PositiveInt | None = None
    parallel_field: bool | None = None
    deferred: bool | None = None


class SchemaFacts(Section):
    """What the model accepts in JSON schemas.

    refused_keywords: keywords refused in schemas of its output and of strict tools. most_min_items:
    the highest minItems in them. refused_at_tool_root: keywords refused at the root of a tool's
    parameters. strict_needs_all_required: whether a strict schema must require every property.
    strict_needs_closed: whether a strict schema must forbid other properties. with_tools: whether
    one request may ask for both tools and JSON output. inline_references: whether it misreads
    arguments whose schema is a $ref, so that references are replaced by what they refer to.
    """

    refused_keywords: frozenset[str] | None = None
    most_min_items: NonNegativeInt | None = None
    refused_at_tool_root: frozenset[str] | None = None
    strict_needs_all_required: bool | None = None
    strict_needs_closed: bool | None = None
    with_tools: bool | None = None
    inline_references: bool | None = None


class MessageFacts(Section):
    """What the model accepts in messages.

    system_later: how it treats a system message in the middle of a conversation. prefill: whether
    the last message may be the beginning of the answer. user_most_characters: the longest value of
    the field user. cap_field: the only name that it accepts for the output cap. verbosity: whether
    it accepts a verbosity other than the usual one.
    """

    system_later: SystemLater | None = None
    prefill: bool | None = None
    user_most_characters: PositiveInt | None = None
    cap_field: CapField | None = None
    verbosity: bool | None = None


class CachingFacts(Section):
    """How the provider caches the model's prompts.

    kind: what it caches: every prefix of a prompt, the prefixes that the request marks, both or
    none. lifetimes_s: the available lifetimes in seconds, the default first. least_tokens: the
    shortest prefix that is cached, in tokens. most_marks: the largest number of marks in a request.
    kept_at_other_effort: whether a change of effort keeps the cache.
    """

    kind: CacheKind | None = None
    lifetimes_s: tuple[PositiveInt, ...] | None = None
    least_tokens: PositiveInt | None = None
    most_marks: PositiveInt | None = None
    kept_at_other_effort: KeptAtOtherEffort | None = None


class RetirementFacts(Section):
    """When the vendor ends the model.

    day: the day from which the provider no longer serves the model. successor: the model that
    replaces it.
    """

    day: date
    successor: str | None = None


class FactOverrides(Section):
    """Facts about the model, where the table (`p2l-router facts MODEL`) is wrong or lacks them.
    Keys that are left out keep the table's values.

    limits: limits in tokens. sampling: parameters that it refuses. thinking: how it thinks. tools:
    what it accepts about tools. schemas: what it accepts in JSON schemas. messages: what it accepts
    in messages. caching: how its prompts are cached. retirement: when it ends.
    expected_output_tokens: the tokens of a usual answer including thoughts, by effort.
    """

    limits: LimitFacts = Field(default_factory=LimitFacts)
    sampling: SamplingFacts = Field(default_factory=SamplingFacts)
    thinking: ThinkingFacts = Field(default_factory=ThinkingFacts)
    tools: ToolFacts = Field(default_factory=ToolFacts)
    schemas: SchemaFacts = Field(default_factory=SchemaFacts)
    messages: MessageFacts = Field(default_factory=MessageFacts)
    caching: CachingFacts = Field(default_factory=CachingFacts)
    retirement: RetirementFacts | None = None
    expected_output_tokens: dict[Effort, PositiveInt] = Field(default_factory=dict)


class FactsFile(Section):
    """The table of facts about models.

    path: the file that `p2l-router facts --update` writes; it is used in place of the bundled table
    where it is newer; default: facts.json in the user's data folder.
    """

    path: Path | None = None
