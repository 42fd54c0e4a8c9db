"""The one seam between us and the network: what carries the requests to a provider."""

from __future__ import annotations

import ssl
from collections.abc import Callable
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


def build_transport(
    base_url: str = "", *, is_allowed: Callable[[str], bool] = lambda _: True
) -> httpx.AsyncBaseTransport:
    """For one provider. base_url: where it is known, so that what it needs is ready before the
    first request. is_allowed: whether an IP address may be connected to.

    Exchanges call it directly: what httpx's client would add to a request (redirects, proxies of
    the environment, cookies, authentication) must not be, and costs more than the sending.
    """
    if base_url.lower().startswith("https:"):
        shared_ssl_context()
    return NetworkTransport(
        ssl_context=shared_ssl_context,
        keepalive_expiry_s=_KEEPALIVE_EXPIRY_S,
        is_allowed=is_allowed,
    )


def build_client(*, max_concurrency: int) -> httpx.AsyncClient:  # noqa: ARG001
    """A client for services of our own, over the same transport. Environment proxies and
    redirects are not followed: both would send a key to a host nobody configured."""
    return httpx.AsyncClient(
        transport=build_transport(),
        timeout=None,  # noqa: S113 - every request sets its own
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "p2l-router"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
    )
