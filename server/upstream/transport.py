"""Creates the transports that carry all requests to the network."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from server.upstream.network import NetworkTransport
from server.upstream.proxies import proxies_of
from server.upstream.trust import ssl_context, trust_of

# Idle connections are closed before a typical load balancer closes them after 60 s.
_KEEPALIVE_EXPIRY_S: Final = 30.0


def shared_ssl_context(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """The process' single SSL context. Raises TrustUnusableError."""
    return ssl_context(trust_of(environ))


def build_transport(
    base_url: str = "",
    *,
    is_allowed: Callable[[str], bool] = lambda _: True,
    environ: Mapping[str, str] = os.environ,
) -> NetworkTransport:
    """A transport for one provider.

    base_url: where it is known, so that the transport is prepared before the first request.
    is_allowed: whether an IP address may be connected to. environ: may name proxies and
    certificates.

    Exchanges call it directly: what httpx's client would add to a request (redirects, cookies,
    authentication) is unwanted, and costs more than the sending.

    Raises ProxyUnusableError and TrustUnusableError, both of them ValueErrors, where base_url needs
    something that the environment names and that cannot be used.
    """
    proxies = proxies_of(environ)
    proxy = proxies.of_url(base_url) if base_url else None
    if base_url.lower().startswith("https:") or (proxy is not None and proxy.scheme == "https"):
        shared_ssl_context(environ)
    return NetworkTransport(
        ssl_context=lambda: shared_ssl_context(environ),
        keepalive_expiry_s=_KEEPALIVE_EXPIRY_S,
        is_allowed=is_allowed,
        proxies=proxies,
    )


def build_client(
    *,
    max_concurrency: int,  # noqa: ARG001
    environ: Mapping[str, str] = os.environ,
) -> httpx.AsyncClient:
    """A client for our own services, over the same transport. Redirects are not followed: they
    would send a key to a host that nobody configured."""
    return httpx.AsyncClient(
        transport=build_transport(environ=environ),
        timeout=None,  # noqa: S113 - every request sets its own
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "p2l-router"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
    )


def blocking_client(
    base_url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    environ: Mapping[str, str] = os.environ,
) -> httpx.Client:
    """A blocking client for one service, for use before there is an event loop. timeout: in
    seconds. Raises ProxyUnusableError and TrustUnusableError where base_url needs something that
    cannot be used."""
    proxy = proxies_of(environ).of_url(base_url)
    return httpx.Client(
        verify=shared_ssl_context(environ),
        proxy=None if proxy is None else proxy.url,
        trust_env=False,
        timeout=timeout,
        headers=dict(headers),
    )
