"""The sockets on which a process listens."""

from __future__ import annotations

import socket
from typing import Final

from server.process.tcp import keep_alive

# New connections that are accepted in one round of the event loop.
_AT_ONCE: Final = 16


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: callers are refused until the gateway is built. port
    0: any free port. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # For callers who vanish while they wait for a whole answer, which nobody would pay for.
        keep_alive(bound)
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def inherited(fd: int) -> socket.socket:
    """The listening socket of the parent process.

    Whether a socket blocks is a property that the processes share, and Python assumes that a socket
    it is given is blocking: a duplicate would then make the accept() of another worker wait for
    ever. Raises OSError where fd is not a socket.
    """
    given = socket.socket(fileno=fd)
    given.setblocking(False)
    return given


def address_of(bound: socket.socket) -> str:
    """The address as host:port, as in a URL."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def accepting(listener: socket.socket) -> list[socket.socket]:
    """The socket and duplicates of it, all of which are listened on. libuv, on which uvloop is
    built, accepts one new connection of a socket in a round of the event loop: under load a round
    lasts tens of milliseconds, and the hundredth caller to connect would wait for seconds."""
    return [listener, *(listener.dup() for _ in range(_AT_ONCE - 1))]
