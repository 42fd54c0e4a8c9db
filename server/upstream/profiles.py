"""Providers with OpenAI's API, each with its deviations, as its reference states them.

If a provider does not honour a field that would change the answer, its models cannot serve the
request; a field that is not on the provider's list is left out and named in x-p2l-left-out-fields.
Profiles without a list of their own are for servers of many kinds: unknown fields are sent to them,
as long as nothing bounds the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from server.upstream import field_lists
from server.upstream.addresses import Auth
from server.upstream.asked import ADVISORY
from server.upstream.field_lists import OPENAI_CHAT, SAMPLING, THINKING
from server.upstream.fields import Fields
from server.upstream.history import Rules, targets
from server.wire.surface import Surface

# Fields that concern OpenAI's own service, or models that only OpenAI has.
_OPENAI_ONLY: Final = frozenset(
    {
        "audio",
        "modalities",
        "moderation",
        "prediction",
        "web_search_options",
    }
)
# The wished length and speed of an answer are preferences.
_NOT_SENT: Final = ADVISORY | {"service_tier", "store", "verbosity"}
# The fields that all of them document.
_BASIC: Final = frozenset(
    {
        *("frequency_penalty", "max_completion_tokens", "max_tokens", "messages", "model"),
        *("parallel_tool_calls", "presence_penalty", "response_format", "seed", "stop", "stream"),
        *("stream_options", "temperature", "tool_choice", "tools", "top_p"),
    }
)
# An entry of `refused` for something deeper than a field of the body.
JSON_SCHEMA: Final = "response_format json_schema"
MESSAGE_NAMES: Final = "names of messages"
CUSTOM_TOOLS: Final = "custom tools"
FORCED_TOOL: Final = "a forced tool_choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a provider deviates from OpenAI.

    hosts: suffixes of host names by which it is recognised. cap: its name for the output cap, None
    where both names are heeded. listed: the fields that it documents and that may be sent;
    passes_unknown: whether other fields are sent too where nothing bounds the request, except
    `unknown`, advisory fields that it would refuse. refused: what it does not honour. with_files:
    fields sent with files where the request is bounded: how to read them without a fee. renamed:
    our field name -> its field name. bills: whether the cost in its answers is what it charges.
    stream_options: whether a stream's usage must be requested. fields: see Upstream.fields, by
    surface and whether the request is bounded. auth: the header that carries the key, where it is
    not a bearer token. history: the rules for conversations. strict: whether it refuses fields of
    tools that are not OpenAI's. user_characters: the longest `user`. client_metadata: whether it
    knows the metadata that Codex adds to a Responses body.
    """

    name: str
    hosts: tuple[str, ...] = ()
    cap: str | None = None
    listed: frozenset[str]
    passes_unknown: bool = False
    refused: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    with_files: Mapping[str, Any] = field(default_factory=dict)
    bills: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    developer_role: bool = True
    stream_options: bool = True
    auth: Auth | None = None
    responses: bool = False
    strict: bool = False
    history: Rules = targets.GENERIC
    user_characters: int = 1_000_000
    client_metadata: bool = False
    changes_nothing: bool = field(init=False)
    fields: Mapping[tuple[Surface, bool], Fields | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        deviates = self.refused or self.unknown or self.renamed or self.cap or self.strict
        nothing = self.developer_role and self.passes_unknown and not deviates
        # Whether a chat-completions body is sent without any change, or as its Fit says.
        object.__setattr__(self, "changes_nothing", nothing)
        object.__setattr__(self, "fields", {**self._open(), **self._bounded()})

    def sends(self, name: str) -> bool:
        """Whether a field of chat completions is ever sent."""
        if self.passes_unknown:
            return name not in self.refused and name not in self.unknown
        return name in self.listed or name in self.with_files

    def _open(self) -> dict[tuple[Surface, bool], Fields | None]:
        if self.passes_unknown:
            return dict.fromkeys((surface, False) for surface in Surface)
        lists = {
            Surface.CHAT: self.listed,
            Surface.RESPONSES: field_lists.RESPONSES - self._not_of_responses,
            Surface.COMPACT: field_lists.COMPACT,
            Surface.COMPLETIONS: field_lists.COMPLETIONS,
            Surface.EMBEDDINGS: field_lists.EMBEDDINGS,
        }
        return {(surface, False): field_lists.open_list(names) for surface, names in lists.items()}

    @property
    def _not_of_responses(self) -> frozenset[str]:
        return frozenset() if self.client_metadata else frozenset({"client_metadata"})

    def _bounded(self) -> dict[tuple[Surface, bool], Fields | None]:
        return {
            (Surface.CHAT, True): field_lists.bounded_chat(self.listed),
            (Surface.RESPONSES, True): field_lists.bounded_responses(self._not_of_responses),
            (Surface.COMPACT, True): field_lists.BOUNDED_COMPACT,
            (Surface.COMPLETIONS, True): field_lists.BOUNDED_COMPLETIONS,
            (Surface.EMBEDDINGS, True): field_lists.BOUNDED_EMBEDDINGS,
        }


GENERIC: Final = Profile(
    name="generic", listed=OPENAI_CHAT | SAMPLING | THINKING, passes_unknown=True
)
_ALL: Final = (
    GENERIC,
    # The o-series refuses max_tokens, and every current chat model accepts the newer name.
    Profile(
        name="openai",
        history=targets.OPENAI,
        user_characters=64,
        strict=True,
        listed=OPENAI_CHAT,
        hosts=("api.openai.com",),
        cap="max_completion_tokens",
        responses=True,
        client_metadata=True,
    ),
    Profile(
        name="azure",
        history=targets.OPENAI,
        user_characters=64,
        strict=True,
        listed=OPENAI_CHAT | {"user_security_context"},
        hosts=("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
        cap="max_completion_tokens",
        auth="api-key",
    ),
    Profile(
        name="openrouter",
        history=targets.OPENROUTER,
        user_characters=128,
        # Without models, route, provider, plugins, transforms and preset: they choose another
        # model.
        listed=(OPENAI_CHAT | SAMPLING)
        - {"n", "functions", "function_call", "moderation", "prompt_cache_options", "store"}
        | {"cache_control", "include_reasoning", "reasoning", "structured_outputs", "usage"},
        hosts=("openrouter.ai",),
        cap="max_tokens",
        refused=frozenset({"n", "functions", "function_call", "moderation"}),
        # Without it, files that a model cannot read go to a reader with a fee for each page.
        with_files={"plugins": [{"id": "file-parser", "pdf": {"engine": "native"}}]},
        bills=True,
    ),
    Profile(
        name="together",
        history=targets.TOGETHER,
        strict=True,
        listed=_BASIC
        | {"chat_template_kwargs", "context_length_exceeded_behavior", "logit_bias", "min_p", "n"}
        | {"reasoning", "reasoning_effort", "repetition_penalty", "top_k"},
        hosts=("api.together.xyz", "api.together.ai"),
        cap="max_tokens",
        # Its logprobs is a number, and its answer has another form.
        refused=_OPENAI_ONLY
        | {"logprobs", "top_logprobs", "functions", "function_call", CUSTOM_TOOLS},
        developer_role=False,
    ),
    Profile(
        name="groq",
        history=targets.GROQ,
        strict=True,
        # Without search_settings, compound_custom and documents: they search for a fee.
        listed=_BASIC
        | {"function_call", "functions", "include_reasoning", "metadata", "reasoning_effort"}
        | {"reasoning_format", "service_tier", "user"},
        hosts=("api.groq.com",),
        cap="max_completion_tokens",
        refused=_OPENAI_ONLY
        | {"logprobs", "top_logprobs", "logit_bias", "n", CUSTOM_TOOLS, MESSAGE_NAMES},
        developer_role=False,
    ),
    Profile(
        name="deepseek",
        history=targets.DEEPSEEK,
        listed=(_BASIC - {"parallel_tool_calls", "seed"})
        | {"logprobs", "reasoning_effort", "thinking", "top_logprobs"},
        hosts=("api.deepseek.com",),
        cap="max_tokens",
        refused=_OPENAI_ONLY
        | {"n", "seed", "logit_bias", "functions", "function_call", CUSTOM_TOOLS, JSON_SCHEMA},
        developer_role=False,
    ),
    # Answers 422 to an unknown field; a stream's last chunk always has the usage.
    Profile(
        name="mistral",
        history=targets.MISTRAL,
        strict=True,
        listed=_BASIC
        | {"n", "prediction", "prompt_mode", "random_seed", "reasoning_effort", "safe_prompt"},
        hosts=("api.mistral.ai",),
        cap="max_tokens",
        refused=(_OPENAI_ONLY - {"prediction"})
        | {"logprobs", "top_logprobs", "logit_bias", "functions", "function_call"}
        | {CUSTOM_TOOLS, MESSAGE_NAMES},
        renamed={"seed": "random_seed"},
        developer_role=False,
        stream_options=False,
    ),
    # Ignores unknown fields: a field that it would not honour must not be sent to it.
    Profile(
        name="vllm",
        history=targets.VLLM,
        # Without best_of, min_tokens, ignore_eos, logits_processors and chat_template.
        listed=(
            (OPENAI_CHAT | SAMPLING) - _OPENAI_ONLY - _NOT_SENT - {"functions", "function_call"}
        )
        | {"allowed_token_ids", "bad_words", "cache_salt", "chat_template_kwargs"}
        | {"guided_choice", "guided_grammar", "guided_json", "guided_regex", "include_reasoning"}
        | {"include_stop_str_in_output", "return_token_ids", "skip_special_tokens"}
        | {"spaces_between_special_tokens", "stop_token_ids", "structured_outputs", "user"},
        passes_unknown=True,
        refused=_OPENAI_ONLY | {"functions", "function_call", CUSTOM_TOOLS},
        unknown=_NOT_SENT - {"user"},
    ),
    Profile(
        name="ollama",
        history=targets.OLLAMA,
        listed=(_BASIC - {"parallel_tool_calls"})
        | {"logprobs", "reasoning", "reasoning_effort", "think", "top_logprobs"},
        passes_unknown=True,
        hosts=(":11434",),
        cap="max_tokens",
        refused=_OPENAI_ONLY
        | {"n", "logit_bias", "functions", "function_call", CUSTOM_TOOLS, FORCED_TOOL},
        unknown=_NOT_SENT | {"parallel_tool_calls"},
        developer_role=False,
    ),
)
PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in _ALL}


def profile_for(name: str | None, base_url: str) -> Profile:
    """The named profile, or the one for the address. Raises KeyError for an unknown name."""
    if name is not None:
        return PROFILES[name]
    host = urlsplit(base_url).netloc.rpartition("@")[2].lower()
    bare = host.partition(":")[0]
    for profile in _ALL:
        for suffix in profile.hosts:
            if host.endswith(suffix) if suffix.startswith(":") else _is_under(bare, suffix):
                return profile
    return GENERIC


def _is_under(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)
