"""Classifies hosts: this machine, the public Internet or a private network."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

# A host and a port as RFC 9112 allows them in Host: no user before an @, no path, no second name
# after a comma, no zone of an IPv6 address.
_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(?::[0-9]{1,5})?"
)
# Other forms that a resolver accepts as an IPv4 address: 0xa000007, 10.7, 012.0.0.7
_PART: Final = "(?:0[xX][0-9A-Fa-f]*|[0-9]+)"
_NUMBER: Final = re.compile(rf"{_PART}(?:\.{_PART}){{0,3}}\.?")
# IPv4 within IPv6: RFC 6052's prefix, and the form that RFC 4291 has deprecated.
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_LOW_32_BITS: Final = (1 << 32) - 1


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host: an address of the loopback network in its
    normal form, or the name localhost. IPv6 comes without brackets."""
    try:
        address = ip_address(host)
    except ValueError:
        # A final dot does not change the name; names below it may be resolved by others.
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


def literal_address(host: str) -> Address | None:
    """The address that a URL's host denotes, in any form that a resolver accepts; None for a name.
    IPv6 comes without brackets. Raises ValueError for numbers that are not an address."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        if _NUMBER.fullmatch(host) is None:
            return None
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        raise ValueError(f"{host!r} is neither a name nor an address") from None


def true_address(address: Address) -> Address:
    """The IPv4 address within an IPv6 address, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    teredo = address.teredo
    found = address.ipv4_mapped or address.sixtofour or (None if teredo is None else teredo[1])
    if found is None and (address in _NAT64 or address in _COMPATIBLE) and int(address) > 1:
        found = IPv4Address(int(address) & _LOW_32_BITS)
    return address if found is None else found


def is_public(address: Address) -> bool:
    """Whether the address is on the public Internet and belongs to a single machine."""
    return address.is_global and not address.is_multicast
