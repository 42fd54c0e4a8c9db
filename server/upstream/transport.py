"""The one seam between us and the network: how the HTTP client of a provider is built."""

from __future__ import annotations

import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from server.upstream.network import NetworkTransport

# Kept-alive connections are dropped before a typical load balancer's 60 s does it for us.
_KEEPALIVE_EXPIRY_S: Final = 30.0


@cache
def shared_ssl_context() -> ssl.SSLContext:
    """The process's one SSL context: reading the trust store takes tens of milliseconds."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


def build_client(
    *,
    max_concurrency: int,  # noqa: ARG001
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A client for one provider. transport: what carries the requests instead of the network.

    Environment proxies and redirects are not followed: both would send the provider's key to a
    host nobody configured.
    """
    return httpx.AsyncClient(
        transport=_network() if transport is None else transport,
        timeout=None,  # noqa: S113 - every exchange sets its own
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "p2l-router"},
        # a provider's cookies would tie one caller's requests to another's
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
    )


def _network() -> NetworkTransport:
    return NetworkTransport(
        ssl_context=shared_ssl_context(), keepalive_expiry_s=_KEEPALIVE_EXPIRY_S
    )
