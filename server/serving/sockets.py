"""Where a process listens."""

from __future__ import annotations

import socket
from typing import Final

from server.process.tcp import keep_alive

# New connections that are taken in one round of the event loop.
_AT_ONCE: Final = 16


def bind(host: str, port: int) -> socket.socket:
    """A socket with its address, on which nobody listens yet: callers are refused until the
    gateway is built. port 0: any. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # for callers who vanish while they wait for a whole answer: nobody would pay for it
        keep_alive(bound)
        bound.bind(address)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def inherited(fd: int) -> socket.socket:
    """The listening socket of the parent process. Blocking is a property of what the processes
    share, and Python takes a socket it is given for a blocking one: a double of it would let the
    accept() of another worker wait for ever. Raises OSError: fd is no socket."""
    given = socket.socket(fileno=fd)
    given.setblocking(False)
    return given


def address_of(bound: socket.socket) -> str:
    """host:port, as in a URL."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def accepting(listener: socket.socket) -> list[socket.socket]:
    """The socket and doubles of it, to be listened on alike. libuv, which uvloop stands on, takes
    one new connection of a socket in a round of the event loop: under load a round lasts tens of
    milliseconds, and the hundredth caller to connect would wait for seconds."""
    return [listener, *(listener.dup() for _ in range(_AT_ONCE - 1))]
