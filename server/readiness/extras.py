"""Finds parts of the configuration that need a package which is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from p2l_model.errors import with_extra
from server.config.settings import Settings
from server.config.settings.routing import RoutingSettings


def missing_extras(settings: Settings) -> Iterator[str]:
    """A sentence for each, with the command that installs it."""
    for field, package, extra in _needed(settings):
        if not _is_installed(package):
            yield (
                f"{field} needs the package {package}: {with_extra(extra)}, or leave {field} out"
            )


def _needed(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yields (field, package, extra)."""
    constrained = _constrained(settings.routing)
    if constrained is not None:
        yield constrained, "cvxpy", "lp"
    if settings.redis.url is not None:
        yield "redis.url", "redis", "redis"
    if settings.redis.url_env is not None:
        yield "redis.url_env", "redis", "redis"
    if (settings.storage.url or "").startswith("postgres"):
        yield "storage.url", "psycopg", "postgres"
    if settings.telemetry.otlp_endpoint is not None:
        yield "telemetry.otlp_endpoint", "opentelemetry.sdk", "otel"


def _constrained(routing: RoutingSettings) -> str | None:
    """The first field that states constraints."""
    if routing.constraints is not None:
        return "routing.constraints"
    for name, rules in routing.profiles.items():
        if rules.constraints is not None:
            return f"routing.profiles.{name}.constraints"
    return None


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        # The package that contains it is missing.
        return False
