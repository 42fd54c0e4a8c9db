"""Keeps TCP connections that are silent for minutes alive, and detects dead ones."""

from __future__ import annotations

import socket
from typing import Final

# The seconds for which a caller's idle connection is kept: longer than load balancers keep theirs
# (60 s), or they would send a request on one that is being closed.
AT_REST_S: Final = 75
# A model may think for ten minutes without sending a byte: routers on the path must not forget the
# connection, and a vanished peer is noticed within a minute and a half.
_KEEPALIVES: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def keep_alive(raw: socket.socket) -> None:
    """Has the system probe, during a silence, whether the peer is still there. The connections that
    a listening socket accepts are probed as well."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVES.items():
        option = getattr(socket, name, None)
        # Not every system has all of these options.
        if option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
