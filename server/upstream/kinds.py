"""Builds the upstream for a provider's settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from server.config.secret import Secret
from server.config.settings import ModelSettings, ProviderSettings
from server.model_facts import Known, ModelFacts, facts_of, seller_of
from server.upstream.anthropic import upstream as anthropic
from server.upstream.base import Upstream
from server.upstream.egress import address_rule
from server.upstream.exchange import Exchange
from server.upstream.gemini import upstream as gemini
from server.upstream.openai import OpenAIUpstream
from server.upstream.openai_responses.thoughts import Thoughts
from server.upstream.openai_responses.upstream import ResponsesBridge
from server.upstream.patience import Patience
from server.upstream.profiles import profile_for
from server.upstream.signatures import Signatures
from server.upstream.transport import build_transport
from server.wire.surface import Surface

# Profiles of the providers that serve OpenAI's own models as OpenAI does.
_OPENAIS: Final = frozenset({"openai", "azure"})
_DEFAULT_URLS: Final = {"anthropic": anthropic.BASE_URL, "gemini": gemini.BASE_URL}


def _known(provider: ProviderSettings, facts: Mapping[str, ModelFacts]) -> Known:
    """The facts about any model of the provider; the configured models have the configured
    facts."""
    seller = seller_of(provider.kind, provider.base_url)
    return lambda model: facts.get(model) or facts_of(model, seller)


def _most_output(models: Iterable[str], known: Known) -> dict[str, int]:
    """The output limit by the provider's own name for the model, where it is configured or
    known."""
    most = {model: known(model).limits.max_output_tokens for model in models}
    return {model: tokens for model, tokens in most.items() if tokens is not None}


def address_of(provider: ProviderSettings) -> str:
    """The provider's base_url, or the default of its kind; empty for the sandbox."""
    return provider.base_url or _DEFAULT_URLS.get(provider.kind, "")


def build_upstream(
    name: str,
    provider: ProviderSettings,
    api_key: Secret | None,
    models: Mapping[str, ModelSettings],
    environ: Mapping[str, str] = os.environ,
    facts: Mapping[str, ModelFacts] | None = None,
) -> Upstream:
    """Builds an upstream. models, facts: the provider's, by its own names. environ: see
    build_transport. Raises ValueError for a key that cannot be a header, and for a proxy or
    certificates that cannot be used."""
    base_url = address_of(provider)
    exchange = _exchange(name, provider, base_url, environ)
    if provider.kind == "anthropic":
        known = _known(provider, facts or {})
        return anthropic.AnthropicUpstream(
            name,
            api_key=api_key,
            exchange=exchange,
            base_url=base_url,
            auth=provider.auth,
            max_output_tokens=_most_output(models, known),
            known=known,
        )
    if provider.kind == "gemini":
        return gemini.GeminiUpstream(
            name,
            api_key=api_key,
            exchange=exchange,
            base_url=base_url,
            auth=provider.auth,
        )
    profile = profile_for(provider.profile, base_url)
    plain = OpenAIUpstream(
        name,
        base_url=base_url,
        api_key=api_key,
        exchange=exchange,
        profile=profile,
        api_version=provider.api_version,
        responses=provider.responses,
        auth=provider.auth,
    )
    is_openai = profile.name in _OPENAIS
    return _bridged(plain, base_url, api_key, models, facts, is_openai=is_openai)


def _exchange(
    name: str, provider: ProviderSettings, base_url: str, environ: Mapping[str, str]
) -> Exchange:
    rule = address_rule(base_url, allow_private=provider.allow_private_addresses)
    return Exchange(
        name,
        build_transport(base_url, is_allowed=rule, environ=environ),
        connect_timeout_s=provider.connect_timeout_s,
        patience=Patience(
            first_byte_s=provider.first_byte_timeout_s,
            idle_s=provider.idle_timeout_s,
            total_s=provider.total_timeout_s,
        ),
        queue_timeout_s=provider.queue_timeout_s,
        max_concurrency=provider.max_concurrency,
    )


def _bridged(
    plain: OpenAIUpstream,
    base_url: str,
    api_key: Secret | None,
    models: Mapping[str, ModelSettings],
    facts: Mapping[str, ModelFacts] | None,
    *,
    is_openai: bool,
) -> Upstream:
    """With a bridge to the Responses API, where the provider has it for any model."""
    choices = {
        model: settings.responses
        for model, settings in models.items()
        if settings.responses is not None
    }
    if not is_openai and not plain.speaks(Surface.RESPONSES) and True not in choices.values():
        return plain
    thoughts = Thoughts(base_url, api_key)
    signatures = Signatures(base_url, api_key)
    return ResponsesBridge(plain, thoughts, signatures, facts, choices, is_openai=is_openai)
