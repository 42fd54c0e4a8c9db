"""Providers that speak OpenAI's dialect, each with its deviations, as its reference states them.

A field that would change the answer and that a provider does not honour makes its models
ineligible for the request; one that would not change it is left out and named in
x-p2l-left-out-fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from server.upstream.addresses import Auth
from server.upstream.asked import ADVISORY

# Fields of OpenAI's that are about OpenAI's own service, or of models that only OpenAI has.
_OPENAI_ONLY: Final = frozenset(
    {
        "audio",
        "modalities",
        "moderation",
        "prediction",
        "service_tier",
        "verbosity",
        "web_search_options",
    }
)
_NOT_SENT: Final = ADVISORY | {"store"}
# What stands in `refused` for something deeper than a field of the body.
JSON_SCHEMA: Final = "response_format json_schema"
MESSAGE_NAMES: Final = "names of messages"
FORCED_TOOL: Final = "a forced tool_choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a provider deviates from OpenAI.

    hosts: suffixes by which it is recognised. cap: its name for the output cap, None where both
    names are heeded. refused: what it does not honour; unknown: advisory fields it would refuse.
    renamed: our name -> its name. stream_options: whether a stream's usage must be asked for.
    auth: the header that takes the key, where it is no bearer token. strict: whether it may
    object to what other providers' answers carry in their messages, sent back to it.
    """

    name: str
    hosts: tuple[str, ...] = ()
    cap: str | None = None
    refused: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    developer_role: bool = True
    stream_options: bool = True
    auth: Auth | None = None
    responses: bool = False
    strict: bool = False

    @property
    def changes_nothing(self) -> bool:
        """A body of chat completions goes out as it is."""
        deviates = self.refused or self.unknown or self.renamed or self.cap or self.strict
        return self.developer_role and not deviates


GENERIC: Final = Profile(name="generic")
_ALL: Final = (
    GENERIC,
    # the o-series refuses max_tokens, and every current chat model takes the newer name
    Profile(
        name="openai",
        strict=True,
        hosts=("api.openai.com",),
        cap="max_completion_tokens",
        responses=True,
    ),
    Profile(
        name="azure",
        strict=True,
        hosts=("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
        cap="max_completion_tokens",
        auth="api-key",
    ),
    Profile(
        name="openrouter",
        hosts=("openrouter.ai",),
        cap="max_tokens",
        refused=frozenset({"n", "functions", "function_call", "moderation"}),
        unknown=frozenset({"prompt_cache_options", "store"}),
    ),
    Profile(
        name="together",
        strict=True,
        hosts=("api.together.xyz", "api.together.ai"),
        cap="max_tokens",
        # its logprobs is a number and its answer has another shape
        refused=_OPENAI_ONLY | {"logprobs", "top_logprobs", "functions", "function_call"},
        unknown=_NOT_SENT,
        developer_role=False,
    ),
    Profile(
        name="groq",
        strict=True,
        hosts=("api.groq.com",),
        cap="max_completion_tokens",
        refused=(_OPENAI_ONLY - {"service_tier"})
        | {"logprobs", "top_logprobs", "logit_bias", "n", MESSAGE_NAMES},
        unknown=_NOT_SENT - {"user", "metadata"},
        developer_role=False,
    ),
    Profile(
        name="deepseek",
        hosts=("api.deepseek.com",),
        cap="max_tokens",
        refused=_OPENAI_ONLY
        | {"n", "seed", "logit_bias", "functions", "function_call", JSON_SCHEMA},
        unknown=_NOT_SENT | {"parallel_tool_calls"},
        developer_role=False,
    ),
    # answers 422 to a field that it does not know; a stream's last chunk has usage unasked
    Profile(
        name="mistral",
        strict=True,
        hosts=("api.mistral.ai",),
        cap="max_tokens",
        refused=(_OPENAI_ONLY - {"prediction"})
        | {"logprobs", "top_logprobs", "logit_bias", "functions", "function_call", MESSAGE_NAMES},
        unknown=_NOT_SENT,
        renamed={"seed": "random_seed"},
        developer_role=False,
        stream_options=False,
    ),
    # reads over fields that it does not know: what it would not honour must not be sent to it
    Profile(
        name="vllm",
        refused=_OPENAI_ONLY | {"functions", "function_call"},
        unknown=_NOT_SENT - {"user"},
    ),
    Profile(
        name="ollama",
        hosts=(":11434",),
        cap="max_tokens",
        refused=_OPENAI_ONLY
        | {"n", "logit_bias", "functions", "function_call", FORCED_TOOL, "parallel_tool_calls"},
        unknown=_NOT_SENT,
        developer_role=False,
    ),
)
PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in _ALL}


def profile_for(name: str | None, base_url: str) -> Profile:
    """The named profile, or the one of the address. Raises KeyError for an unknown name."""
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
