"""Reads a provider's own list of the models that it offers this key."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import orjson

from server.catalogue.auto_models import with_auto_models
from server.config.configured_facts import book_of
from server.config.file import ConfigError
from server.config.provider_keys import api_key
from server.config.settings import ProviderSettings, Settings
from server.process.background import Background, Job
from server.upstream.addresses import gemini_models_url, key_headers, messages_url
from server.upstream.egress import address_rule
from server.upstream.kinds import address_of
from server.upstream.profiles import profile_for
from server.upstream.transport import build_transport
from server.wire.shapes import objects

_LOG: Final = logging.getLogger("p2l_router")
_TIMEOUT_S: Final = 20.0
_KEPT_S: Final = 24 * 3600.0
_LOOK_S: Final = 60.0
_MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_PAGES: Final = 20
# Fields in which providers state the day from which a model is no longer served.
_ENDS: Final = ("shutdown_date", "retires_at", "deprecation_date")


class ListError(Exception):
    """A provider's list of models cannot be read; the message says why, without the key. status:
    of the provider's answer; None where there was none."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


async def offered_models(
    name: str,
    provider: ProviderSettings,
    environ: Mapping[str, str],
    today: date,
    timeout_s: float = _TIMEOUT_S,
) -> list[str]:
    """The names of the models that the provider offers this key. timeout_s: for each page. Raises
    ListError, ConfigError."""
    base_url = address_of(provider)
    headers = _headers(name, provider, base_url, environ)
    rule = address_rule(base_url, allow_private=provider.allow_private_addresses)
    try:
        transport = build_transport(base_url, is_allowed=rule, environ=environ)
    except ValueError as error:
        # A proxy or certificates of the environment cannot be used.
        raise ListError(f"{name}: its list of models cannot be read: {error}") from None
    names: list[str] = []
    query: dict[str, str] = {}
    async with httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False) as client:
        for _ in range(_MOST_PAGES):
            try:
                # The transport has no time limit of its own on reading.
                async with asyncio.timeout(timeout_s):
                    page = await _page(name, client, _url(provider, base_url, query), headers)
            except TimeoutError:
                raise ListError(f"{name}: did not answer within {timeout_s:g} s") from None
            names += _names(page, today)
            further = _further(page)
            if not further:
                break
            query = further
    return list(dict.fromkeys(names))


def _headers(
    name: str, provider: ProviderSettings, base_url: str, environ: Mapping[str, str]
) -> dict[str, str]:
    key = api_key(name, provider, environ)
    auth = provider.auth
    if provider.kind == "openai" and auth is None:
        auth = profile_for(provider.profile, base_url).auth
    headers = key_headers(name, provider.kind, base_url, key, auth)
    if provider.kind == "anthropic":
        headers["anthropic-version"] = "2023-06-01"
    return headers


def _url(provider: ProviderSettings, base_url: str, query: Mapping[str, str]) -> str:
    asked = dict(query)
    if provider.kind == "anthropic":
        url = messages_url(base_url).removesuffix("/messages") + "/models"
        asked.setdefault("limit", "1000")
    elif provider.kind == "gemini":
        url = gemini_models_url(base_url)
        asked.setdefault("pageSize", "1000")
    else:
        url = base_url.rstrip("/") + "/models"
        if provider.api_version is not None:
            asked["api-version"] = provider.api_version
    return f"{url}?{urlencode(asked)}" if asked else url


async def _page(
    name: str, client: httpx.AsyncClient, url: str, headers: Mapping[str, str]
) -> dict[str, Any]:
    try:
        response = await client.get(url, headers=headers)
    except (httpx.HTTPError, OSError) as error:
        raise ListError(f"{name}: its list of models cannot be read: {error}") from None
    if response.status_code != 200 or len(response.content) > _MOST_BYTES:
        raise ListError(
            f"{name}: its list of models answered with status {response.status_code}",
            response.status_code,
        )
    try:
        parsed = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ListError(f"{name}: its list of models is not a JSON object")
    return parsed


def _names(page: Mapping[str, Any], today: date) -> list[str]:
    rows = objects(page.get("data", page.get("models")))
    return [name for row in rows if (name := _name(row)) and not _has_ended(row, today)]


def _name(row: Mapping[str, Any]) -> str | None:
    methods = row.get("supportedGenerationMethods")
    if isinstance(methods, list) and "generateContent" not in methods:
        return None
    name = row.get("id") or row.get("name")
    # A name is shown, logged and written into configurations: no line breaks, no escape codes.
    if not isinstance(name, str) or len(name) >= 300 or not name.isprintable():
        return None
    return name.removeprefix("models/")


def _has_ended(row: Mapping[str, Any], today: date) -> bool:
    for field in _ENDS:
        day = _day(row.get(field))
        if day is not None and day <= today:
            return True
    return False


def _day(value: object) -> date | None:
    try:
        if isinstance(value, str):
            return date.fromisoformat(value[:10])
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _further(page: Mapping[str, Any]) -> dict[str, str]:
    """The query for the next page; empty where there is none."""
    if page.get("has_more") is True and isinstance(page.get("last_id"), str):
        return {"after_id": page["last_id"], "limit": "1000"}
    token = page.get("nextPageToken")
    return {"pageToken": token, "pageSize": "1000"} if isinstance(token, str) and token else {}


class ModelLists:
    """Keeps the models of `models: auto` current: each provider is asked once a day.

    settings: the current settings. put: puts new ones into force. now: seconds since 1970.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        put: Callable[[Settings], None],
        environ: Mapping[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._put = put
        self._environ = environ
        self._now = now
        self._offered: dict[str, tuple[str, list[str], float]] = {}

    async def follow(self) -> None:
        """Asks providers whose list is older than a day, and puts their lists into force. Raises
        ListError where one could not be read; the other providers' lists are in force all the
        same."""
        settings = self._settings()
        due = [(n, p) for n, p in _asked(settings).items() if self._is_due(n, p)]
        said = await asyncio.gather(*(self._ask(n, p) for n, p in due), return_exceptions=True)
        self._apply(self._settings())
        failed = [error for error in said if isinstance(error, BaseException)]
        if failed:
            raise failed[0]

    def _is_due(self, name: str, provider: ProviderSettings) -> bool:
        address, _, at = self._offered.get(name, ("", [], 0.0))
        return address != address_of(provider) or self._now() - at >= _KEPT_S

    async def _ask(self, name: str, provider: ProviderSettings) -> None:
        names = await offered_models(name, provider, self._environ, self._today())
        self._offered[name] = address_of(provider), names, self._now()
        _LOG.warning("provider %s offers %d models to this key", name, len(names))

    def _apply(self, settings: Settings) -> None:
        offered = {
            name: self._offered[name][1] for name in _asked(settings) if name in self._offered
        }
        found = with_auto_models(settings, book_of(settings), self._today(), offered)
        if found.models != settings.models:
            self._put(found)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._now(), UTC).date()


def _asked(settings: Settings) -> dict[str, ProviderSettings]:
    return {
        name: provider
        for name, provider in settings.providers.items()
        if provider.models == "auto" and provider.kind != "sandbox"
    }


@asynccontextmanager
async def lists_followed(background: Background, lists: ModelLists) -> AsyncIterator[None]:
    """Within this context, providers' lists are read: at once, and then once a day."""
    job = Job(
        name="model lists",
        work=lists.follow,
        every_s=_LOOK_S,
        stale_after_s=2 * _KEPT_S,
        at_once=True,
    )
    async with background.doing(job):
        yield


__all__ = ["ConfigError", "ListError", "ModelLists", "lists_followed", "offered_models"]
