"""The settings for providers and their models."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, field_validator, model_validator

from server.config.settings.facts import FactOverrides
from server.config.settings.fields import PositiveFactor, PositiveSeconds, Section, Usd
from server.model_facts.types import Effort
from server.wire.hosts import is_public, literal_address, true_address
from server.wire.service_tier import Tier

Capability = Literal["tools", "vision", "json_schema", "audio", "files", "reasoning"]
# The header that carries the key.
Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key"]
ProfileName = Literal[
    "generic",
    "openai",
    "azure",
    "openrouter",
    "together",
    "groq",
    "deepseek",
    "mistral",
    "vllm",
    "ollama",
]


class ProviderSettings(Section):
    """A provider that requests are sent to. The key is read from an environment variable or from a
    file of its own, never from the configuration. Where profile, api_version and responses, which
    are for kind openai, are left out, they follow from the address.

    kind: the API that the provider speaks; sandbox answers without a model. base_url: for kind
    openai, an address that ends in /v1; for anthropic and gemini, which have a default, the part
    before /v1/messages or /v1beta/models, with or without a path. api_key_env: the variable that
    holds the key. api_key_file: a file that holds the key. auth: the header that carries the key,
    where it is not the usual one of the kind and address; bearer: Authorization. profile: the
    provider profile: how this provider deviates from OpenAI's API. api_version: the API version of
    Azure. responses: whether the provider has /responses. connect_timeout_s: the time limit for the
    connection. first_byte_timeout_s: the time limit from sending to the first byte of the answer;
    left out: 600 for a whole answer and for a stream of a model that thinks, 60 for any other
    stream. idle_timeout_s: the longest pause within an answer; left out: 300 for a model that
    thinks, 60 for any other. total_timeout_s: the time limit from sending to the end of the answer.
    max_concurrency: the largest number of requests in progress at one time. queue_timeout_s: how
    long a request waits where max_concurrency requests are in progress. models: auto takes the
    models in the provider's own list that the key may use and that are known here, those with the
    highest placed strength first (the newest of each line before older ones), at most auto_models
    of them; of a vLLM or Ollama server, all models. auto_models: how many models auto takes.
    private: whether the provider may receive requests that ask for private providers
    (X-Route-Private). allow_private_addresses: whether base_url may be, or its name may resolve to,
    an address that is neither on the public Internet nor this machine.
    """

    kind: Literal["openai", "anthropic", "gemini", "sandbox"] = "openai"
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    auth: Auth | None = None
    allow_private_addresses: bool = False
    private: bool = False
    models: Literal["auto"] | None = None
    auto_models: PositiveInt = 8
    profile: ProfileName | None = None
    api_version: str | None = None
    responses: bool | None = None
    connect_timeout_s: PositiveSeconds = 2.0
    first_byte_timeout_s: PositiveSeconds | None = None
    idle_timeout_s: PositiveSeconds | None = None
    total_timeout_s: PositiveSeconds = 3600.0
    queue_timeout_s: PositiveSeconds = 5.0
    max_concurrency: PositiveInt = 256

    @model_validator(mode="after")
    def _has_one_key(self) -> ProviderSettings:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give one of api_key_env and api_key_file, not both")
        return self

    @model_validator(mode="after")
    def _has_an_address(self) -> ProviderSettings:
        if self.kind == "openai" and self.base_url is None:
            raise ValueError('kind openai needs a base_url, for example "https://host/v1"')
        url = self.base_url
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("base_url must begin with http:// or https://")
        if url is not None and (urlsplit(url).query or urlsplit(url).fragment):
            raise ValueError("base_url must end before the ? or #; api_version has its own key")
        if url is not None and not self.allow_private_addresses:
            check_host(urlsplit(url).hostname or "", "base_url")
        return self

    @model_validator(mode="after")
    def _says_only_what_its_kind_knows(self) -> ProviderSettings:
        for name in ("profile", "api_version", "responses"):
            if getattr(self, name) is not None and self.kind != "openai":
                raise ValueError(f"{name} applies only to kind openai: leave it out")
        return self


def check_host(host: str, field: str) -> None:
    """Raises ValueError for a private address, and for one written in a form that conceals it.
    field: whose value it is part of."""
    literal = literal_address(host)
    if literal is None:
        return
    if isinstance(literal, IPv4Address) and host != str(literal):
        raise ValueError(f"{field}: {host!r} means the address {literal}: write that instead")
    address = true_address(literal)
    if not address.is_loopback and not is_public(address):
        raise ValueError(
            f"{field} names {literal}, an address of a private network. If the "
            f"{'provider' if field == 'base_url' else 'receiver'} really is there, set "
            "allow_private_addresses: true"
        )


class ModelSettings(Section):
    """One model of the catalogue. Keys that are left out are looked up in the price list and in the
    table of facts (`p2l-router facts`).

    provider: one of providers. upstream_model: the provider's name for the model; default: its name
    here. leaderboard_name: the checkpoint's name for the model; default: its name here.
    input_usd_per_mtok, output_usd_per_mtok, cached_input_usd_per_mtok, cache_write_usd_per_mtok,
    cache_write_1h_usd_per_mtok, reasoning_usd_per_mtok, audio_input_usd_per_mtok,
    audio_output_usd_per_mtok: the price of a million of these tokens. request_usd: the price of a
    request, in addition to its tokens. context_window: the limit of input and output together, in
    tokens. max_output_tokens: the limit of the output, in tokens. capabilities: what the model can
    do; a request that needs anything else goes to another model; default: all.
    expected_output_tokens: the length of an answer, where the checkpoint predicts none. thinking:
    how a model of kind anthropic is told to think, where it does not follow from its name.
    responses: whether a model of kind openai answers chat completions through /responses; default:
    only where it accepts tools there alone. tier_prices: service tier -> the factor on the prices
    of its tokens. retired: allow: the model is used even after the day on which its vendor ends it.
    efforts: each makes a column NAME:EFFORT of the model, and the router chooses among columns as
    among models; left out: the model has one place, at the caller's effort or its own. facts:
    further facts about the model, where the table of facts is wrong.
    """

    provider: str
    upstream_model: str | None = None
    leaderboard_name: str | None = None
    input_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    cached_input_usd_per_mtok: Usd | None = None
    cache_write_usd_per_mtok: Usd | None = None
    cache_write_1h_usd_per_mtok: Usd | None = None
    reasoning_usd_per_mtok: Usd | None = None
    audio_input_usd_per_mtok: Usd | None = None
    audio_output_usd_per_mtok: Usd | None = None
    request_usd: Usd = Decimal(0)
    context_window: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    capabilities: frozenset[Capability] | None = None
    expected_output_tokens: PositiveInt | None = None
    thinking: Literal["none", "budget", "adaptive"] | None = None
    responses: bool | None = None
    tier_prices: dict[Tier, PositiveFactor] = Field(default_factory=dict)
    retired: Literal["allow"] | None = None
    efforts: list[Effort] | None = None
    facts: FactOverrides = Field(default_factory=FactOverrides)

    @field_validator("efforts")
    @classmethod
    def _efforts_differ(cls, value: list[Effort] | None) -> list[Effort] | None:
        efforts = [] if value is None else value
        for effort in efforts:
            if efforts.count(effort) > 1:
                raise ValueError(f"names {effort} twice: name each effort once")
        if value == []:
            raise ValueError("is empty: name at least one effort, or leave efforts out")
        return value

    @model_validator(mode="after")
    def _prices_come_in_pairs(self) -> ModelSettings:
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both input_usd_per_mtok and output_usd_per_mtok, or neither")
        return self
