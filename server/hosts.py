"""Which hosts are this machine, as nobody else can reach it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

# A host and a port as RFC 9112 has them in Host, and nothing else: no user before an @, no path,
# no second name after a comma, no zone of an IPv6 address.
_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(?::[0-9]{1,5})?"
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it: an address of the loopback network as it is normally
    written, or the name localhost. IPv6 comes without brackets."""
    try:
        address = ip_address(host)
    except ValueError:
        # with a final dot it is the same name; names below it may be resolved by others
        return host.lower() in ("localhost", "localhost.")
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def is_loopback_authority(authority: str) -> bool:
    """Whether `host` or `host:port`, as in a Host header or a URL, is this machine."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    bracketed = match["ipv6"]
    if bracketed is None:
        return is_loopback(match["name"])
    return ":" in bracketed and is_loopback(bracketed)


def is_loopback_origin(origin: str) -> bool:
    """Whether a page of this web origin comes from this machine."""
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and is_loopback_authority(authority)
