"""What is kept, shared, bounded and reported."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from server.settings.fields import Section


class StorageSettings(Section):
    """Where spend and receipts will be kept; nothing is stored in this version."""

    url: str = "sqlite:///p2l-router.db"
    keep_prompts: Literal[False] = False


class RedisSettings(Section):
    """Shared state of several gateways."""

    url: None = None


class LimitsSettings(Section):
    """Bounds on what one process takes on."""

    max_body_bytes: PositiveInt = 20_000_000
    max_concurrency: PositiveInt = 1000


class TelemetrySettings(Section):
    """Where traces go."""

    otlp_endpoint: None = None
