"""The proxies that the environment names, by the rules of the standard library and of curl.

`https_proxy`, `http_proxy` and `all_proxy`, in lower or upper case; `no_proxy` for what is reached
directly: `*`, names (including all names under them), addresses, networks (10.0.0.0/8), each with
or without a port. This machine itself is always reached directly.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

_SCHEMES: Final = ("https", "http")
_PORTS: Final = {"http": 80, "https": 443}
_HAS_PORT: Final = re.compile(r"(\[[^\]]+\]|[^:]+):(\d+)")


class ProxyUnusableError(ValueError):
    """The environment names a proxy that cannot be used; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. scheme: the protocol of the proxy itself. authorization: the value of
    Proxy-Authorization. variable: the variable that names it. url: as written there, perhaps with a
    login."""

    variable: str
    scheme: str
    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)
    url: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Its URL without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Exception:
    """One item of no_proxy. where: a name, an address or a network."""

    where: str | IPv4Address | IPv6Address | IPv4Network | IPv6Network
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if isinstance(self.where, str):
            return host == self.where or host.endswith(f".{self.where}")
        address = _address(host)
        if isinstance(self.where, IPv4Network | IPv6Network):
            return address is not None and address in self.where
        return address == self.where


class Proxies:
    """Finds the proxy, if any, for a host."""

    def __init__(
        self,
        by_scheme: Mapping[str, Proxy | ProxyUnusableError],
        exceptions: tuple[_Exception, ...] = (),
        *,
        for_none: bool = False,
        no_proxy: str = "",
    ) -> None:
        """by_scheme: proxies by the scheme of the target. for_none: whether no host is reached
        through a proxy. no_proxy: as written."""
        self._by_scheme = {} if for_none else dict(by_scheme)
        self._exceptions = exceptions
        self.no_proxy = no_proxy

    def of(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a target. host: a name or an address, without brackets. Raises
        ProxyUnusableError."""
        proxy = self._by_scheme.get(scheme)
        if proxy is None or self._is_direct(host.rstrip(".").lower(), port):
            return None
        if isinstance(proxy, ProxyUnusableError):
            raise proxy
        return proxy

    def of_url(self, url: str) -> Proxy | None:
        """As `of`, for an http or https URL."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        return self.of(parts.scheme, parts.hostname or "", port)

    def in_force(self) -> Iterator[tuple[str, Proxy | ProxyUnusableError]]:
        """Yields (scheme of the target, proxy or what is wrong with it)."""
        yield from self._by_scheme.items()

    def _is_direct(self, host: str, port: int) -> bool:
        address = _address(host)
        here = host == "localhost" if address is None else address.is_loopback
        return here or any(exception.covers(host, port) for exception in self._exceptions)


NO_PROXIES: Final = Proxies({})


def proxies_of(environ: Mapping[str, str]) -> Proxies:
    """The proxies that the environment names."""
    by_scheme: dict[str, Proxy | ProxyUnusableError] = {}
    for scheme in _SCHEMES:
        for name in (f"{scheme}_proxy", "all_proxy"):
            variable, value = _variable(environ, name)
            if value:
                by_scheme[scheme] = _proxy(variable, value)
                break
    _, no_proxy = _variable(environ, "no_proxy")
    items = [item for item in re.split(r"[,\s]+", no_proxy.lower()) if item]
    exceptions = tuple(_exception(item) for item in items if item != "*")
    return Proxies(by_scheme, exceptions, for_none="*" in items, no_proxy=no_proxy)


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Returns a variable's name as written and its value; lower case takes precedence, even where
    it is empty."""
    name = name if name in environ else name.upper()
    return name, environ.get(name, "").strip()


def _proxy(variable: str, value: str) -> Proxy | ProxyUnusableError:
    # No message quotes the value: it may hold a password.
    url = value if "://" in value else f"http://{value}"
    parts = urlsplit(url)
    if parts.scheme.startswith("socks"):
        return ProxyUnusableError(
            f"{variable} names a SOCKS proxy, which is not supported: name an HTTP proxy "
            "(http://HOST:PORT) in HTTPS_PROXY, or the hosts to be reached directly in NO_PROXY"
        )
    if parts.scheme not in _PORTS:
        return ProxyUnusableError(f"{variable} must begin with http:// or https://")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        return ProxyUnusableError(f"{variable} must be the URL of a proxy: http://HOST:PORT")
    return Proxy(
        variable,
        parts.scheme,
        host,
        _PORTS[parts.scheme] if port is None else port,
        _authorization(parts.username, parts.password),
        url,
    )


def _authorization(user: str | None, password: str | None) -> bytes | None:
    if user is None:
        return None
    login = f"{unquote(user)}:{unquote(password or '')}"
    return b"Basic " + base64.b64encode(login.encode())


def _exception(item: str) -> _Exception:
    if "/" in item:
        try:
            return _Exception(ip_network(item, strict=False))
        except ValueError:
            return _Exception(item)
    port = None
    if _address(item) is None and (found := _HAS_PORT.fullmatch(item)) is not None:
        item, port = found[1], int(found[2])
    host = item.strip("[]").removeprefix("*").strip(".")
    return _Exception(_address(host) or host, port)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
