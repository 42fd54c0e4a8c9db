"""The one seam between us and the network: how the HTTP client of a provider is built."""

from __future__ import annotations

import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

# Kept-alive connections are dropped before a typical load balancer's 60 s does it for us.
_KEEPALIVE_EXPIRY_S: Final = 30.0


@cache
def shared_ssl_context() -> ssl.SSLContext:
    """The process's one SSL context: reading the trust store takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


def build_client(
    *,
    max_concurrency: int,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """A client for one provider. transport: what carries the requests instead of the network.

    Environment proxies and redirects are not followed: both would send the provider's key to a
    host nobody configured.
    """
    return httpx.AsyncClient(
        transport=_network(max_concurrency) if transport is None else transport,
        timeout=None,  # noqa: S113 - every exchange sets its own
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "p2l-router"},
        # a provider's cookies would tie one caller's requests to another's
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
    )


def _network(max_concurrency: int) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(
        verify=shared_ssl_context(),
        trust_env=False,
        http1=True,
        http2=False,
        retries=0,
        limits=httpx.Limits(
            max_connections=max_concurrency,
            max_keepalive_connections=max_concurrency,
            keepalive_expiry=_KEEPALIVE_EXPIRY_S,
        ),
    )
