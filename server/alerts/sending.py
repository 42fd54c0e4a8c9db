"""Posts an alert, signed as Standard Webhooks (standardwebhooks.com) describes it, and tries again
where the receiver does not accept it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson

from server.alerts.levels import Alert
from server.config.environment import variable
from server.config.file import ConfigError
from server.config.secret import Secret
from server.config.settings import AlertSettings
from server.config.settings.alerts import check_target
from server.upstream.egress import address_rule
from server.upstream.transport import build_transport

_LOG: Final = logging.getLogger("p2l_router")
_TIMEOUT_S: Final = 10.0
# After a failure it waits 1, 2, 4, ... seconds, and never longer than a minute: ten minutes in all.
_TRIES: Final = 14
_LONGEST_S: Final = 60.0
_ENCODED: Final = "whsec_"
# The receiver says that the same request may succeed later.
_LATER: Final = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class Target:
    """Where alerts go. url: may be a secret itself. secret: signs them."""

    url: Secret
    secret: Secret
    allow_private: bool

    @property
    def host(self) -> str:
        """What may be logged of the URL."""
        return urlsplit(self.url.reveal()).hostname or ""


def target_of(settings: AlertSettings, environ: Mapping[str, str] = os.environ) -> Target | None:
    """The receiver of alerts; None where none is configured. Raises ConfigError where a variable is
    missing or the URL may not be used."""
    if not settings.is_on:
        return None
    url = settings.url or variable(settings.url_env or "", environ)
    if not url:
        raise ConfigError(f"alerts.url_env: the variable {settings.url_env} is not set")
    try:
        check_target(url, allow_private=settings.allow_private_addresses)
    except ValueError as error:
        raise ConfigError(f"alerts.{error}") from None
    secret = variable(settings.secret_env or "", environ)
    if not secret:
        raise ConfigError(
            f"alerts.secret_env: the variable {settings.secret_env} is not set: set it to a secret "
            "that the receiver knows too"
        )
    return Target(Secret(url), Secret(secret), settings.allow_private_addresses)


def signature(secret: Secret, id_: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: HMAC-SHA256 over `id.timestamp.body`. A secret that begins with
    whsec_ is base64 from there on; any other is taken as its UTF-8 bytes."""
    text = secret.reveal()
    key = text.encode()
    if text.startswith(_ENCODED):
        try:
            key = base64.b64decode(text.removeprefix(_ENCODED), validate=True)
        except binascii.Error:
            key = text.encode()
    signed = f"{id_}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Sender:
    """Posts alerts. clock: seconds since 1970. sleep: waits between tries."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._environ = environ

    async def send(self, alert: Alert, target: Target) -> bool:
        """Posts an alert until the receiver accepts it; returns whether it did. Only the host of
        the receiver is ever logged."""
        created = int(self._clock())
        body = orjson.dumps(alert.to_json(created))
        problem = ""
        for number in range(_TRIES):
            if number > 0:
                await self._sleep(min(_LONGEST_S, 2.0 ** (number - 1)))
            status, problem = await self._posted(alert.id, body, target)
            if status is not None and 200 <= status < 300:
                return True
            if status is not None and status < 500 and status not in _LATER:
                break
        _LOG.error("an alert could not be delivered to %s: %s", target.host, problem)
        return False

    async def _posted(self, id_: str, body: bytes, target: Target) -> tuple[int | None, str]:
        """Returns the status of the answer, None without one, and what was wrong."""
        timestamp = int(self._clock())
        headers = {
            "content-type": "application/json",
            "user-agent": "p2l-router",
            "webhook-id": id_,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(target.secret, id_, timestamp, body),
        }
        url = target.url.reveal()
        rule = address_rule(url, allow_private=target.allow_private)
        try:
            transport = build_transport(url, is_allowed=rule, environ=self._environ)
            async with (
                asyncio.timeout(_TIMEOUT_S),
                httpx.AsyncClient(
                    transport=transport, timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False
                ) as client,
                # The status says everything: a body, which may have no end, is not read.
                client.stream("POST", url, content=body, headers=headers) as response,
            ):
                status = response.status_code
        except (httpx.HTTPError, OSError, ValueError) as error:
            # The message of an error may hold the URL.
            return None, type(error).__name__
        return status, f"status {status}"
