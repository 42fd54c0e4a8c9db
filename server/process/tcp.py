"""Connections that are silent for minutes, and must be known for alive or dead all the same."""

from __future__ import annotations

import socket
from typing import Final

# How long a caller's connection is kept that is at rest: longer than balancers keep theirs (60 s),
# or they would send a request on one that is being closed.
AT_REST_S: Final = 75
# A model may think for ten minutes without a byte: what is on the way must not forget the
# connection, and an end that is gone is noticed within a minute and a half.
_KEEPALIVES: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def keep_alive(raw: socket.socket) -> None:
    """Has the system ask, through a silence, whether the other end is still there. What a listening
    socket takes on is asked as well."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVES.items():
        option = getattr(socket, name, None)
        # not every system has all of them
        if option is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
