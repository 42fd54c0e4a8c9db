"""Builds the parts that a configuration describes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL

from p2l_model.engine.scorer import FixedScorer, Scorer
from router.catalog import ModelCard
from server.accounts.accounts import Accounts
from server.accounts.budgets import Budgets
from server.accounts.pacer import Pacer
from server.accounts.purses import Purses
from server.accounts.rates import Limiter, MemoryRates, Rates
from server.accounts.windows import MemoryWindows, Windows
from server.catalogue.auto_models import with_auto_models
from server.config.configured_facts import book_of
from server.config.defaults import default_settings
from server.config.environment import variable
from server.config.file import ConfigError, load_settings
from server.config.ledger_place import ledger_place
from server.config.provider_keys import api_key
from server.config.secret import Secret
from server.config.settings import (
    ModelSettings,
    RedisSettings,
    ScorerSettings,
    Settings,
    StorageSettings,
)
from server.ledger.attempt import Attempt
from server.storage.database import Database
from server.storage.store import Store
from server.upstream.base import Upstream

if TYPE_CHECKING:
    from server.accounts.redis_client import RedisClient
    from server.model_facts import ModelFacts
    from server.scoring.client.knowledge import Knowledge


def settings_from(path: str | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the given file, else of the file that P2L_CONFIG names, else the defaults.
    Raises ConfigError."""
    path = path or environ.get("P2L_CONFIG")
    settings = default_settings(environ) if path is None else load_settings(Path(path))
    if settings.is_auto:
        today = datetime.now(UTC).date()
        settings = with_auto_models(settings, book_of(settings), today)
    elif not settings.models:
        raise ConfigError(f"{path}: models is empty: name at least one model to route to")
    return settings


def build_scorer(scoring: ScorerSettings, environ: Mapping[str, str] = os.environ) -> Scorer:
    """Builds the configured scorer. Raises CheckpointError, ExtraMissingError, or ConfigError where
    a key is missing."""
    if scoring.fixed is not None:
        return FixedScorer(scoring.fixed)
    if scoring.url is not None:
        return _remote_scorer(scoring, environ)
    from p2l_model.checkpoint.folder import resolve_checkpoint
    from p2l_model.engine.local import build_local_scorer

    return build_local_scorer(
        resolve_checkpoint(scoring.checkpoint_name),
        scoring.engine,
        options=scoring.engine_options,
        max_tokens=scoring.max_tokens,
        cache_size=scoring.cache_size,
    )


def _remote_scorer(scoring: ScorerSettings, environ: Mapping[str, str]) -> Scorer:
    from server.scoring.client.scorer import RemoteScorer, warn_unreached

    known = services_knowledge(scoring, environ)
    if known is None:
        warn_unreached(scoring.urls)
    timeout_s = scoring.timeout_ms / 1000.0
    key = _scorer_key(scoring, environ)
    return RemoteScorer(scoring.urls, timeout_s=timeout_s, key=key, known=known)


def services_knowledge(scoring: ScorerSettings, environ: Mapping[str, str]) -> Knowledge | None:
    """What the model services know, or else the checkpoint that is configured beside them; None
    where no service answers. Raises CheckpointError, ConfigError."""
    from p2l_model.checkpoint.folder import resolve_checkpoint
    from server.scoring.client.knowledge import ask_once, knowledge_from_checkpoint
    from server.scoring.client.scorer import request_headers

    if "checkpoint" in scoring.model_fields_set:
        return knowledge_from_checkpoint(resolve_checkpoint(scoring.checkpoint_name))
    return ask_once(scoring.urls, request_headers(_scorer_key(scoring, environ)))


def _scorer_key(scoring: ScorerSettings, environ: Mapping[str, str]) -> Secret | None:
    if scoring.api_key_env is None:
        return None
    key = Secret(variable(scoring.api_key_env, environ))
    if not key:
        raise ConfigError(
            f"scorer.api_key_env: the variable {scoring.api_key_env} is not set: set it to the "
            "model services' key"
        )
    return key


def build_store(storage: StorageSettings, environ: Mapping[str, str] = os.environ) -> Store:
    """Builds the store without starting it and without reporting its location. Raises ConfigError
    where the location cannot be written."""
    return Store(database_of(storage, environ, say=None), storage)


def _to_standard_error(line: str) -> None:
    print(f"p2l-router: {line}", file=sys.stderr, flush=True)


def database_of(
    storage: StorageSettings,
    environ: Mapping[str, str] = os.environ,
    *,
    say: Callable[[str], None] | None = _to_standard_error,
) -> Database:
    """The configured database. say: receives the ledger's location, where it was found in the
    working directory. Raises ConfigError where the location cannot be written."""
    place = ledger_place(storage, environ)
    if place is None:
        return Database(*_address(storage, environ))
    if place.is_here and say is not None:
        say(f"the ledger is {place.said}")
    place.make_folder()
    return Database(URL.create("sqlite", database=str(place.path)))


def _address(storage: StorageSettings, environ: Mapping[str, str]) -> tuple[str, Secret | None]:
    """The configured URL and, separately, its password. Raises ConfigError."""
    url = storage.url or ""
    if storage.url_env is not None:
        url = variable(storage.url_env, environ)
        if not url:
            raise ConfigError(f"storage.url_env: the variable {storage.url_env} is not set")
    password = None
    if storage.password_env is not None:
        password = Secret(variable(storage.password_env, environ))
        if not password:
            raise ConfigError(
                f"storage.password_env: the variable {storage.password_env} is not set"
            )
    return url, password


def leaderboard_names(
    scoring: ScorerSettings, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """The names that a scorer would know, without building it.

    Raises ConfigError where no model service answers, CheckpointError.
    """
    return list(surely_known_to(scoring, environ).models)


def surely_known_to(scoring: ScorerSettings, environ: Mapping[str, str] = os.environ) -> Knowledge:
    """As known_to, but raises ConfigError where no model service answers. Raises
    CheckpointError."""
    known = known_to(scoring, environ)
    if known is None:
        raise ConfigError(
            f"scorer.url: no model service answers at {', '.join(scoring.urls)}: start "
            "`p2l-router model` there, or name the checkpoint that it serves beside url"
        )
    return known


def known_to(scoring: ScorerSettings, environ: Mapping[str, str] = os.environ) -> Knowledge | None:
    """What a scorer would know, without building it; None where no model service answers.

    Raises CheckpointError, ConfigError.
    """
    from p2l_model.checkpoint.folder import resolve_checkpoint
    from server.scoring.client.knowledge import Knowledge, knowledge_from_checkpoint

    if scoring.fixed is not None:
        fixed = FixedScorer(scoring.fixed)
        return Knowledge(fixed.models, fixed.marginal, frozenset())
    if scoring.urls:
        return services_knowledge(scoring, environ)
    return knowledge_from_checkpoint(resolve_checkpoint(scoring.checkpoint_name))


def build_accounts(
    settings: Settings, store: Store, on_settled: Callable[[Attempt], None] | None = None
) -> Accounts:
    """Builds the accounts of a gateway whose ledger is in the store. Raises ConfigError."""
    pacer = Pacer(store)
    windows, rates = _counting(settings, store, pacer)
    return Accounts(
        store,
        budgets=Budgets(settings.routing.window_budgets),
        windows=windows,
        pacer=pacer,
        purses=Purses(store, windows, settings.routing.sessions.budget_usd),
        limiter=Limiter(rates),
        on_settled=on_settled,
        policy=settings.storage.unknown_cost,
    )


def _counting(settings: Settings, store: Store, pacer: Pacer) -> tuple[Windows, Rates]:
    """Counts windows and rates in this process, or in Redis where several processes share them."""
    url = redis_url(settings.redis)
    if url is None:
        return MemoryWindows(store, pacer), MemoryRates()
    from server.accounts.redis_client import RedisClient
    from server.accounts.redis_rates import RedisRates
    from server.accounts.redis_windows import RedisWindows

    client = RedisClient(url, settings.redis.prefix)
    return RedisWindows(client, store, pacer), RedisRates(client)


def sessions_client(settings: Settings) -> RedisClient | None:
    """The connection over which several processes share sessions; None: this process has its own.
    Raises ConfigError."""
    url = redis_url(settings.redis)
    if url is None:
        return None
    from server.accounts.redis_client import RedisClient
    from server.gateway.shared_sessions import TIMEOUT_S

    return RedisClient(url, settings.redis.prefix, TIMEOUT_S)


def redis_url(redis: RedisSettings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The URL of Redis; None: this process counts its own windows and rates. Raises ConfigError."""
    if redis.url_env is None:
        return redis.url
    url = variable(redis.url_env, environ)
    if not url:
        raise ConfigError(f"redis.url_env: the variable {redis.url_env} is not set")
    return url


def build_upstreams(
    settings: Settings, catalogue: Sequence[ModelCard], environ: Mapping[str, str] = os.environ
) -> dict[str, Upstream]:
    """The upstreams of all providers that a model uses, by name. Raises ConfigError where a key is
    missing."""
    used = {card.provider for card in catalogue}
    used |= {name for name, provider in settings.providers.items() if provider.models == "auto"}
    return {name: _upstream(settings, name, environ) for name in settings.providers if name in used}


def _models_of(settings: Settings, provider: str) -> dict[str, ModelSettings]:
    """The models, by the provider's own names."""
    return {
        model.upstream_model or name: model
        for name, model in settings.models.items()
        if model.provider == provider
    }


def _facts_of(settings: Settings, provider: str) -> dict[str, ModelFacts]:
    """The facts, by the provider's own names; a deployment is listed by its catalogue name."""
    from server.config.configured_facts import facts_of_models

    facts = facts_of_models(settings)
    return {
        model.upstream_model or name: facts[name]
        for name, model in settings.models.items()
        if model.provider == provider
    }


def _upstream(settings: Settings, name: str, environ: Mapping[str, str]) -> Upstream:
    provider, models = settings.providers[name], _models_of(settings, name)
    if provider.kind == "sandbox":
        return _sandbox(name, models)
    from server.upstream.kinds import build_upstream

    try:
        key = api_key(name, provider, environ)
        facts = _facts_of(settings, name)
        return build_upstream(name, provider, key, models, environ, facts)
    except ValueError as error:
        raise ConfigError(f"providers.{name}: {error}") from error


def _sandbox(name: str, models: Mapping[str, ModelSettings]) -> Upstream:
    from server.upstream.sandbox import SandboxUpstream

    lengths = {
        model: float(settings.expected_output_tokens)
        for model, settings in models.items()
        if settings.expected_output_tokens is not None
    }
    return SandboxUpstream(name, expected_output_tokens=lengths)
