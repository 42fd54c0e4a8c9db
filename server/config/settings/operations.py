"""The settings for storage, Redis, limits, browsers and telemetry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from server.config.settings.fields import PositiveSeconds, Section
from server.config.settings.unknown_cost import UnknownCost

_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class StorageSettings(Section):
    """Where spend, receipts, feedback and created keys are stored.

    url: sqlite:///PATH or postgresql://USER@HOST/NAME; default: p2l-router/p2l-router.db in
    XDG_DATA_HOME (~/.local/share), or p2l-router.db in the working directory where that file
    exists. url_env: the variable that holds the URL, for a URL that contains a password.
    password_env: the variable that holds the password alone. on_failure: what happens to requests
    while the database is down: refuse them (503), or serve them and keep the records in spool_dir
    until it is back. spool_dir: the folder in which records are on disk before they are in the
    database; default: beside the SQLite file. Without one (PostgreSQL), a request waits for the
    commit of its reservation. spool_max_bytes: the largest size of spool_dir. unknown_cost: what an
    attempt is billed at that timed out, was given up, or was lost before its cost was known.
    keep_prompts: whether prompts are stored, so that feedback can become training votes.
    receipts_days: how many days receipts and stored prompts are kept; null: for ever.
    attempts_days: how many days each attempt at a provider is kept (its cost stays, in totals by
    day, key and model); null: for ever. feedback_days: how many days feedback is kept; null: for
    ever. keep_responses: whether callers of the Responses API may have their responses stored, with
    prompts and completions (store: true). responses_days: how many days responses are kept; null:
    for ever.
    """

    url: str | None = None
    url_env: str | None = None
    password_env: str | None = None
    on_failure: Literal["refuse", "spool"] = "refuse"
    spool_dir: Path | None = None
    spool_max_bytes: PositiveInt = 1 << 30
    unknown_cost: UnknownCost = UnknownCost.EXPECTED
    keep_prompts: bool = False
    receipts_days: PositiveInt | None = 90
    attempts_days: PositiveInt | None = 400
    feedback_days: PositiveInt | None = None
    keep_responses: bool = False
    responses_days: PositiveInt | None = 30

    @model_validator(mode="after")
    def _has_somewhere_to_spool(self) -> StorageSettings:
        postgres = self.url_env is not None or not (self.url or "sqlite").startswith("sqlite")
        if self.on_failure == "spool" and self.spool_dir is None and postgres:
            raise ValueError("on_failure: spool needs spool_dir, a folder that can be written")
        return self


class RedisSettings(Section):
    """Windows, rates and sessions that several gateways share.

    url: the URL of the Redis server. url_env: the variable that holds the URL, for a URL that
    contains a password. prefix: the prefix of all keys; gateways that share budgets and sessions
    need the same prefix.
    """

    url: str | None = None
    url_env: str | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "p2l"


class LimitsSettings(Section):
    """Bounds on the work that one process accepts.

    max_body_bytes: the largest body of a request. max_header_bytes: the largest size of its
    headers. max_concurrency: how many requests may be in progress at one time. max_waiting: how
    many further requests may wait for a place. max_wait_s: how long a request waits for a place, in
    seconds. max_connections: how many connections may be open. share_per_key: the share of the
    places that one key may hold where there are several keys. feedback_per_minute: how many
    opinions one key may give per minute. header_timeout_s: how long the headers of a request may
    take to arrive. body_timeout_s: how long its body may take to arrive. write_timeout_s: how long
    a caller may fail to read what is sent. drain_s: how long requests may go on once the process is
    told to stop.
    """

    max_body_bytes: PositiveInt = 20_000_000
    max_header_bytes: PositiveInt = 65_536
    max_concurrency: PositiveInt = 1000
    max_waiting: Annotated[int, Field(ge=0)] = 1000
    max_wait_s: PositiveSeconds = 0.2
    max_connections: PositiveInt = 8192
    feedback_per_minute: PositiveInt = 60
    share_per_key: Annotated[float, Field(gt=0, le=1)] = 0.8
    header_timeout_s: PositiveSeconds = 10.0
    body_timeout_s: PositiveSeconds = 60.0
    write_timeout_s: PositiveSeconds = 60.0
    drain_s: PositiveSeconds = 30.0


class ServerSettings(Section):
    """What browsers are told.

    cors_origins: web pages that may call with a key, by their exact origin ("https://chat.example"
    or "http://192.168.1.5:3000"), or "*" alone for every page; it has no effect without keys, when
    only pages of this machine may call.
    """

    cors_origins: list[str] = Field(default_factory=list)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*":
                _check_origin(origin)
            elif len(value) > 1:
                raise ValueError('"*" stands for every page: give it alone, or list the pages')
        return value


def _check_origin(origin: str) -> None:
    """Checks that an origin is written exactly as browsers send it; otherwise it would never match.
    Raises ValueError."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise ValueError(
            f"{origin!r} is not the origin of a page: write SCHEME://HOST or SCHEME://HOST:PORT in "
            'lower case without a path and without a final slash, as in "https://chat.example"'
        )
    if match["port"] == _DEFAULT_PORTS.get(match["scheme"]):
        raise ValueError(
            f"{origin!r}: browsers leave the port {match['port']} out of an origin of "
            f"{match['scheme']}: write {origin.rpartition(':')[0]!r}"
        )


class TelemetrySettings(Section):
    """Where traces are sent.

    otlp_endpoint: the base URL of an OTLP/HTTP receiver, such as http://localhost:4318 (needs the
    extra otel).
    """

    otlp_endpoint: str | None = None

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value
