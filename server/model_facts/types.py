"""The record of facts about a model, cell by cell.

A cell without a source has a neutral value, which refuses nothing and excludes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Literal, get_args

from server.model_facts.price_table import PriceTable

Capability = Literal["tools", "vision", "json_schema", "audio", "files", "reasoning"]
CAPABILITIES: Final[frozenset[Capability]] = frozenset(get_args(Capability))
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# When a parameter is answered with a 400; "thinking" refuses nothing at an effort of `none`.
Refused = Literal["never", "thinking", "always"]
ThinkingUse = Literal["never", "optional", "by_default", "always", "unknown"]
ThinkingKind = Literal["effort", "adaptive", "budget"]
OnChatCompletions = Literal["ok", "not_with_effort", "only_at_none", "refused"]
ForcedTools = Literal["ok", "not_when_thinking", "refused"]
SystemLater = Literal["ok", "ignored", "refused", "unknown"]
CapField = Literal["max_completion_tokens"]
CacheKind = Literal["automatic", "marked", "both", "none", "unknown"]
KeptAtOtherEffort = Literal["yes", "marker", "no"]
ThinkingOff = Literal[
    "none", "disabled", "between_tools", "zero_budget", "toggle", "omitted", "cannot", "unknown"
]  # fmt: skip
Endpoint = Literal["chat_completions", "responses", "messages", "generate_content"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a cell was read, and on which day."""

    where: str
    read_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """When the model refuses a sampling parameter with another value than its default (1 for
    temperature and top_p, 0 for penalties); every model accepts the default or does not need it.

    penalties: frequency_penalty and presence_penalty. logprobs: top_logprobs too. both: whether it
    accepts temperature and top_p in one request. most_temperature: the highest temperature that it
    accepts.
    """

    temperature: Refused = "never"
    top_p: Refused = "never"
    top_k: Refused = "never"
    penalties: Refused = "never"
    logprobs: Refused = "never"
    logit_bias: Refused = "never"
    stop: Refused = "never"
    both: bool = True
    most_temperature: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """Whether and how the model thinks, and how it is told to.

    use: never; optional (only when asked); by_default (unless turned off); always; unknown. kinds:
    how it is asked to think: effort (a level: reasoning_effort, output_config.effort or
    thinkingLevel), adaptive (Anthropic's type), budget (a number of tokens). off: how it is told
    not to think: none (an effort of that name), disabled (thinking.type), between_tools
    (thinking.type), zero_budget (thinkingBudget 0), toggle (enable_thinking: false), omitted (by
    not asking), cannot; unknown. efforts: the accepted efforts, lowest first; empty: it refuses the
    parameter; None: unknown. on_responses_only: efforts that OpenAI's Chat Completions refuses.
    most_effort_when_off: the highest effort that is accepted while thinking is turned off.
    tool_turns_need_thoughts: while it thinks, a last turn with tool calls but without its own
    thoughts is refused. bound_to_prefix: a thought is refused once the conversation before it has
    changed.
    """

    use: ThinkingUse = "unknown"
    kinds: frozenset[ThinkingKind] = frozenset()
    off: ThinkingOff = "unknown"
    efforts: tuple[Effort, ...] | None = None
    on_responses_only: frozenset[Effort] = frozenset()
    default_effort: Effort | None = None
    most_effort_when_off: Effort | None = None
    least_budget_tokens: int | None = None
    most_budget_tokens: int | None = None
    tool_turns_need_thoughts: bool = False
    bound_to_prefix: bool = False

    def thinks_at(self, effort: Effort | None) -> bool:
        """Whether it thinks when asked for this effort; None: when asked for none in particular. An
        unknown model is assumed not to think."""
        if self.use in ("never", "unknown"):
            return False
        if self.use == "always":
            return True
        return self.use == "by_default" if effort is None else effort != "none"

    def nearest(self, effort: Effort) -> Effort | None:
        """The effort that it accepts in place of another: the lowest one that is at least as high,
        else its highest. None: it accepts none, or its efforts are unknown."""
        if not self.efforts:
            return None
        wanted = EFFORTS.index(effort)
        higher = (one for one in self.efforts if EFFORTS.index(one) >= wanted)
        return next(higher, self.efforts[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the model refuses about tools.

    on_chat_completions: whether OpenAI's Chat Completions accepts function tools for it: ok;
    not_with_effort (not beside a reasoning_effort other than none); only_at_none (only beside a
    reasoning_effort of none); refused. Where it is refused, /v1/responses accepts them. forced:
    whether tool_choice may force a call: ok; not_when_thinking; refused. id_pattern: a regular
    expression for the ids of calls. ids_unique: whether an id must be unique in a conversation.
    name_pattern: a regular expression for the names of tools. most: the largest number of tools in
    a request. parallel_field: whether it accepts parallel_tool_calls. deferred: whether it supports
    tools that are loaded later, and references to them, where its API has them.
    """

    on_chat_completions: OnChatCompletions = "ok"
    forced: ForcedTools = "ok"
    id_pattern: str | None = None
    id_most_characters: int | None = None
    ids_unique: bool = False
    name_pattern: str | None = None
    name_most_characters: int | None = None
    most: int | None = None
    parallel_field: bool = True
    deferred: bool = True

    def on_chat(self, effort: Effort | None) -> bool:
        """Whether Chat Completions accepts tools in a request that names this effort; None:
        none."""
        if self.on_chat_completions == "not_with_effort":
            return effort in (None, "none")
        if self.on_chat_completions == "only_at_none":
            return effort == "none"
        return self.on_chat_completions == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemas:
    """What the model refuses in JSON schemas.

    refused_keywords: keywords refused in schemas of its output and of strict tools. most_min_items:
    the highest minItems in them. refused_at_tool_root: keywords refused at the root of a tool's
    parameters. strict_needs_all_required, strict_needs_closed: whether a strict schema must require
    every property, and must forbid others (additionalProperties: false). with_tools: whether one
    request may ask for both tools and JSON output. inline_references: whether it misreads arguments
    whose schema is a $ref.
    """

    refused_keywords: frozenset[str] = frozenset()
    most_min_items: int | None = None
    refused_at_tool_root: frozenset[str] = frozenset()
    strict_needs_all_required: bool = False
    strict_needs_closed: bool = False
    with_tools: bool = True
    inline_references: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What the model refuses about messages.

    system_later: how it treats a system message in the middle of a conversation: ok; ignored (a
    200, and no effect); refused; unknown. prefill: whether the last message may be the beginning of
    the assistant's answer. user_most_characters: the longest value of the field `user`. cap_field:
    the only name that it accepts for the output cap; None: both of OpenAI's. verbosity: whether it
    accepts a verbosity other than the usual one.
    """

    system_later: SystemLater = "unknown"
    prefill: bool = True
    user_most_characters: int | None = None
    cap_field: CapField | None = None
    verbosity: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """How the provider caches prefixes of prompts. The prices are in the price table.

    kind: automatic; marked (only what the request marks); both; none; unknown. lifetimes_s: the
    available lifetimes in seconds, the default first. least_tokens: the shortest prefix that is
    cached. most_marks: the largest number of marks in a request. kept_at_other_effort: whether a
    change of effort keeps the cache: yes; marker (only through a message in the conversation that
    changes it); no, which also stands for unknown.
    """

    kind: CacheKind = "unknown"
    lifetimes_s: tuple[int, ...] = ()
    least_tokens: int | None = None
    most_marks: int | None = None
    kept_at_other_effort: KeptAtOtherEffort = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits in tokens; None where unknown.

    context_window: of input and output together. max_input_tokens: of input alone.
    max_output_tokens: the highest output cap. default_output_tokens: where the provider stops when
    the request has no cap; None: at the highest.
    """

    context_window: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    default_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Retirement:
    """The day from which a seller no longer serves a model, and the successor that it names.
    redirected: from that day on, the successor answers under the old name, at its own price."""

    on: date
    successor: str | None
    source: Source
    redirected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """All facts about a model where it is sold.

    known: model (it is in the table), family (only rules for similar names), nothing. name: as in
    the table, else as it was asked for. vendor: who made it. seller: who serves it here. can,
    lacks: what it certainly can and cannot do; the rest is unknown. endpoints: empty where unknown.
    prices: None where unknown. retirement: at the seller. vendor_retirement: at its vendor, which
    says nothing about other sellers. aliases: other names of the same model. released: None where
    unknown. expected_output_tokens: of a usual answer including thoughts, by effort. sources: part
    of this record -> where it was read.
    """

    name: str
    known: Literal["model", "family", "nothing"] = "nothing"
    vendor: str | None = None
    seller: str | None = None
    can: frozenset[Capability] = frozenset()
    lacks: frozenset[Capability] = frozenset()
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    thinking: Thinking = field(default_factory=Thinking)
    tools: Tools = field(default_factory=Tools)
    schemas: Schemas = field(default_factory=Schemas)
    messages: Messages = field(default_factory=Messages)
    caching: Caching = field(default_factory=Caching)
    prices: PriceTable | None = None
    endpoints: frozenset[Endpoint] = frozenset()
    retirement: Retirement | None = None
    vendor_retirement: Retirement | None = None
    aliases: tuple[str, ...] = ()
    released: date | None = None
    expected_output_tokens: Mapping[Effort, int] = field(default_factory=dict, hash=False)
    sources: Mapping[str, Source] = field(default_factory=dict, hash=False)

    @property
    def capabilities(self) -> frozenset[Capability] | None:
        """What a request may ask of it: everything that it is not known to lack. None: unknown."""
        return CAPABILITIES - self.lacks if self.can or self.lacks else None

    def refuses(self, parameter: str, effort: Effort | None) -> bool:
        """Whether a sampling parameter, by the name of Sampling's field, is refused with a 400 in a
        request for this effort; None: for none in particular."""
        when: Any = getattr(self.sampling, parameter)
        return bool(when == "always" or (when == "thinking" and self.thinking.thinks_at(effort)))

    def is_retired(self, today: date) -> bool:
        """Whether the seller no longer serves it on this day (UTC)."""
        return self.retirement is not None and self.retirement.on <= today
