"""Callers that connect while others keep the gateway busy."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from servers import LOAD_CORE, SERVER_CORE, free_ports, ours, provider, run_load, running

from server.serving.server import server_config
from server.serving.sockets import accepting, bind, inherited

CLIENTS = 64


@pytest.mark.slow
def test_new_callers_are_let_in_while_others_keep_it_busy(tmp_path: Path) -> None:
    """Counted in answers, not in seconds: until the last of 64 callers who connect together has
    its first answer, the others have a few each, not dozens."""
    upstream, port = free_ports(2)
    gateway = ours("fixed", port, upstream, tmp_path)
    plan = {"clients": CLIENTS, "seconds": 0.0, "at_least": 12 * CLIENTS, "model": gateway.model}
    with (
        running(provider(upstream), LOAD_CORE, tmp_path),
        running(gateway, SERVER_CORE, tmp_path),
    ):
        seen = run_load(gateway.url, plan)
    assert seen["bad"] == 0
    assert seen["before_all"] <= 6 * CLIENTS


def test_a_worker_that_starts_does_not_make_the_others_wait_in_accept() -> None:
    """They share what they listen on: were it blocking for a moment, a worker in accept() with
    nobody there would stand still until the next caller comes."""
    with bind("127.0.0.1", 0) as parents:
        workers = inherited(os.dup(parents.fileno()))
        doubles = accepting(workers)
        assert not os.get_blocking(parents.fileno())
        for double in doubles:
            double.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="Linux")
def test_a_caller_who_vanishes_in_a_long_silence_is_noticed() -> None:
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()) as caller:
            taken, _ = listener.accept()
            with taken:
                assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
                idle, every, times = (
                    taken.getsockopt(socket.IPPROTO_TCP, option)
                    for option in (
                        socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT,
                    )
                )  # fmt: skip
                assert idle + every * times <= 120
            assert caller.fileno() >= 0


def test_connections_at_rest_are_kept_longer_than_balancers_keep_theirs() -> None:
    async def app(*_: object) -> None:
        """Never called."""

    kept = server_config(app, asyncio.Protocol).timeout_keep_alive
    assert kept > 60, "what balancers are set to where nobody has set them"
