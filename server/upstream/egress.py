"""Which addresses a provider's name may lead to.

An operator who writes an address, or a name that only exists in a private network, means it. A
public name that suddenly leads into the private network (DNS rebinding, a poisoned resolver, a
lapsed domain) is somebody else's doing: the request, and with it the key, is not sent there.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

# Names of private networks: RFC 6761 and 8375, ICANN's .internal, Kubernetes, common habit.
_PRIVATE_SUFFIXES: Final = (
    ".localhost",
    ".local",
    ".internal",
    ".home.arpa",
    ".lan",
    ".svc",
    ".cluster.local",
)


def address_rule(base_url: str, *, allow_private: bool) -> Callable[[str], bool]:
    """Whether an IP address may be connected to, for the provider at base_url.

    allow_private: the operator says that the name may lead anywhere.
    """
    host = (urlsplit(base_url).hostname or "").rstrip(".").lower()
    if allow_private or _is_address(host) or host == "localhost":
        return _anywhere
    if "." not in host or host.endswith(_PRIVATE_SUFFIXES):
        return _not_metadata
    return _on_the_internet


def _anywhere(_: str) -> bool:
    return True


def _not_metadata(address: str) -> bool:
    """Link-local is where clouds keep their machines' credentials: no provider is there."""
    return not _parsed(address).is_link_local


def _on_the_internet(address: str) -> bool:
    parsed = _parsed(address)
    return parsed.is_global and not parsed.is_multicast


def _parsed(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address.partition("%")[0])
    embedded = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return parsed if embedded is None else embedded


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
