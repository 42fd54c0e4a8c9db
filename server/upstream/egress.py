"""Which addresses a provider's name may lead to.

An operator who writes a name that only exists in a private network, or says
`allow_private_addresses`, means it. A public name that suddenly leads into the private network (DNS
rebinding, a poisoned resolver, a lapsed domain) is somebody else's doing, and a bare private
address may be anybody's in the network that the gateway happens to run in: the request, and with it
the key, is not sent there.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from server.wire.hosts import Address, is_public, literal_address, true_address

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
# Where clouds keep their machines' credentials, besides the link-local addresses.
_METADATA: Final = frozenset(
    map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)


def address_rule(base_url: str, *, allow_private: bool) -> Callable[[str], bool]:
    """Whether an IP address may be connected to, for the provider at base_url.

    allow_private: the operator says that the name may lead anywhere. Raises ValueError for a host
    that cannot be one.
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
    """No provider is there."""
    parsed = _parsed(address)
    return not parsed.is_link_local and parsed not in _METADATA


def _on_the_internet(address: str) -> bool:
    parsed = _parsed(address)
    return is_public(parsed) and parsed not in _METADATA


def _parsed(address: str) -> Address:
    return true_address(ip_address(address.partition("%")[0]))
