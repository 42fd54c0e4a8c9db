"""Decides which addresses a provider's host name may resolve to.

An operator who configures a name that exists only in a private network, or sets
`allow_private_addresses`, means it. A public name that suddenly resolves to a private address (DNS
rebinding, a poisoned resolver, a lapsed domain) is an attack or a fault, and a bare private address
may belong to anybody in the network in which the gateway happens to run: the request, and with it
the key, is not sent there.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from server.wire.hosts import Address, is_public, literal_address, true_address

# Suffixes of names in private networks: RFC 6761 and 8375, ICANN's .internal, Kubernetes, common
# habit.
_PRIVATE_SUFFIXES: Final = (
    ".localhost",
    ".local",
    ".internal",
    ".home.arpa",
    ".lan",
    ".svc",
    ".cluster.local",
)
# The addresses of clouds' metadata services, which hold credentials, besides link-local addresses.
_METADATA: Final = frozenset(
    map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)


def address_rule(base_url: str, *, allow_private: bool) -> Callable[[str], bool]:
    """A function that decides whether the provider at base_url may have a given IP address.

    allow_private: the operator allows every address. Raises ValueError for an invalid host.
    """
    host = (urlsplit(base_url).hostname or "").rstrip(".").lower()
    if allow_private:
        return _anywhere
    literal = literal_address(host)
    if host == "localhost" or (literal is not None and true_address(literal).is_loopback):
        return _on_this_machine
    if literal is None and ("." not in host or host.endswith(_PRIVATE_SUFFIXES)):
        return _not_metadata
    return _on_the_internet


def _anywhere(_: str) -> bool:
    return True


def _on_this_machine(address: str) -> bool:
    return _parsed(address).is_loopback


def _not_metadata(address: str) -> bool:
    """Excludes metadata services: no provider has such an address."""
    parsed = _parsed(address)
    return not parsed.is_link_local and parsed not in _METADATA


def _on_the_internet(address: str) -> bool:
    parsed = _parsed(address)
    return is_public(parsed) and parsed not in _METADATA


def _parsed(address: str) -> Address:
    return true_address(ip_address(address.partition("%")[0]))
