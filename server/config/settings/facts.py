"""What a configuration says of a model in place of the table of facts: `models.NAME.facts`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from server.config.settings.fields import Section

EffortName = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Refused = Literal["never", "thinking", "always"]


class LimitFacts(Section):
    """max_input_tokens: of the input alone. default_output_tokens: where the provider stops when a
    request has no cap."""

    max_input_tokens: PositiveInt | None = None
    default_output_tokens: PositiveInt | None = None


class SamplingFacts(Section):
    """When the model refuses a parameter: never, while it thinks, or always. penalties:
    frequency_penalty and presence_penalty. both: whether it takes temperature and top_p in one
    request. most_temperature: a higher one is refused."""

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
    """use: whether the model thinks. kinds: how it is asked to. off: how it is told not to.
    efforts: those that it takes, the least first; an empty list: it refuses the parameter.
    on_responses_only: efforts that only /v1/responses takes. default_effort: without one in the
    request. most_effort_when_off: the highest that it takes while its thinking is turned off.
    least_budget_tokens, most_budget_tokens: of a budget for thinking.
    tool_turns_need_thoughts: it refuses tool calls that come back without their thoughts.
    bound_to_prefix: it refuses thoughts after another beginning of the conversation."""

    use: Literal["never", "optional", "by_default", "always", "unknown"] | None = None
    kinds: frozenset[Literal["effort", "adaptive", "budget"]] | None = None
    off: (
        Literal[
            "none",
            "disabled",
            "between_tools",
            "zero_budget",
            "toggle",
            "omitted",
            "cannot",
            "unknown",
        ]
        | None
    ) = None
    efforts: tuple[EffortName, ...] | None = None
    on_responses_only: frozenset[EffortName] | None = None
    default_effort: EffortName | None = None
    most_effort_when_off: EffortName | None = None
    least_budget_tokens: PositiveInt | None = None
    most_budget_tokens: PositiveInt | None = None
    tool_turns_need_thoughts: bool | None = None
    bound_to_prefix: bool | None = None


class ToolFacts(Section):
    """on_chat_completions: whether function tools are taken there: ok, not_with_effort (not beside
    a reasoning_effort other than none), only_at_none (only beside reasoning_effort none), refused.
    forced: whether tool_choice may force a call. id_pattern: a regular expression for the ids of
    calls. ids_unique: no id twice in a conversation. name_pattern: one for the names of tools.
    most: tools in a request. parallel_field: whether it takes parallel_tool_calls.
    deferred: whether it knows tools that are not loaded at first, and references to them."""

    on_chat_completions: Literal["ok", "not_with_effort", "only_at_none", "refused"] | None = None
    forced: Literal["ok", "not_when_thinking", "refused"] | None = None
    id_pattern: str | None = None
    id_most_characters: PositiveInt | None = None
    ids_unique: bool | None = None
    name_pattern: str | None = None
    name_most_characters: PositiveInt | None = None
    most: PositiveInt | None = None
    parallel_field: bool | None = None
    deferred: bool | None = None


class SchemaFacts(Section):
    """refused_keywords: in schemas of its output and of strict tools. most_min_items: the highest
    minItems there. refused_at_tool_root: keywords at the root of a tool's parameters.
    strict_needs_all_required: a strict schema must require every property. strict_needs_closed: it
    must forbid other properties. with_tools: whether one request may ask for tools and for JSON
    output. inline_references: it misreads arguments whose schema is a $ref."""

    refused_keywords: frozenset[str] | None = None
    most_min_items: NonNegativeInt | None = None
    refused_at_tool_root: frozenset[str] | None = None
    strict_needs_all_required: bool | None = None
    strict_needs_closed: bool | None = None
    with_tools: bool | None = None
    inline_references: bool | None = None


class MessageFacts(Section):
    """system_later: what becomes of a system message in the middle of a conversation. prefill:
    whether the last message may be the beginning of the answer. user_most_characters: of the field
    user. cap_field: the only name that it takes for the output cap. verbosity: whether it takes
    another than the usual one."""

    system_later: Literal["ok", "ignored", "refused", "unknown"] | None = None
    prefill: bool | None = None
    user_most_characters: PositiveInt | None = None
    cap_field: Literal["max_completion_tokens"] | None = None
    verbosity: bool | None = None


class CachingFacts(Section):
    """kind: what the provider keeps: every beginning of a prompt, what the request marks, both or
    none. lifetimes_s: what can be had, the default first. least_tokens: no shorter beginning is
    kept. most_marks: in a request. kept_at_other_effort: whether a change of effort keeps the
    cache."""

    kind: Literal["automatic", "marked", "both", "none", "unknown"] | None = None
    lifetimes_s: tuple[PositiveInt, ...] | None = None
    least_tokens: PositiveInt | None = None
    most_marks: PositiveInt | None = None
    kept_at_other_effort: Literal["yes", "marker", "no"] | None = None


class RetirementFacts(Section):
    """day: from which the provider no longer serves the model. successor: what takes its place."""

    day: date
    successor: str | None = None


class FactOverrides(Section):
    """What is known of the model, where the table (`p2l-router facts MODEL`) is wrong or does not
    have it. What is left out stays as the table says.

    limits: of tokens. sampling: parameters that it refuses. thinking: how it thinks. tools: what it
    refuses about them. schemas: about JSON schemas. messages: about messages. caching: how prompts
    are kept. retirement: when it ends. expected_output_tokens: of a usual answer with its thoughts,
    by effort.
    """

    limits: LimitFacts = Field(default_factory=LimitFacts)
    sampling: SamplingFacts = Field(default_factory=SamplingFacts)
    thinking: ThinkingFacts = Field(default_factory=ThinkingFacts)
    tools: ToolFacts = Field(default_factory=ToolFacts)
    schemas: SchemaFacts = Field(default_factory=SchemaFacts)
    messages: MessageFacts = Field(default_factory=MessageFacts)
    caching: CachingFacts = Field(default_factory=CachingFacts)
    retirement: RetirementFacts | None = None
    expected_output_tokens: dict[EffortName, PositiveInt] = Field(default_factory=dict)


class FactsFile(Section):
    """The table of what is known of models. path: the file that `p2l-router facts --update` writes,
    and that is read in place of the bundled table where it is newer; default: facts.json in the
    user's data folder."""

    path: Path | None = None
