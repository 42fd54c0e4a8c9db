"""Runs several processes on one port: they share the listening socket, and a parent supervises
them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

# A worker that dies at once would otherwise be restarted in a tight loop.
_RESTART_PAUSE_S = 1.0
_POLL_S = 0.2
# The seconds that a worker is given beyond its own drain limit.
_GRACE_S = 10.0
_BAD_INPUT = 2


class Supervisor:
    """Starts n workers, restarts those that die, passes SIGHUP on, and stops all of them on
    SIGTERM.

    arguments: those of `p2l-router serve` for a worker; the socket's number is added.
    """

    def __init__(
        self, arguments: Sequence[str], listener: socket.socket, n_workers: int, drain_s: float
    ) -> None:
        self._arguments = [*arguments, "--fd", str(listener.fileno())]
        self._listener = listener
        self._n_workers = n_workers
        self._drain_s = drain_s
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()
        self._started_at = 0.0

    def run(self) -> int:
        """Runs until it is told to stop, or until a worker finds the configuration at fault (2)."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            while not self._stopping.wait(_POLL_S):
                if any(worker.poll() == _BAD_INPUT for worker in self._workers):
                    return _BAD_INPUT
                self._fill()
            return 0
        finally:
            self._stop()

    def _fill(self) -> None:
        gone = [worker for worker in self._workers if worker.poll() is not None]
        for worker in gone:
            print(f"p2l-router: worker {worker.pid} ended ({worker.returncode})", file=sys.stderr)
            self._workers.remove(worker)
        if gone and time.monotonic() - self._started_at < _RESTART_PAUSE_S:
            self._stopping.wait(_RESTART_PAUSE_S)
        while len(self._workers) < self._n_workers and not self._stopping.is_set():
            self._started_at = time.monotonic()
            self._workers.append(self._spawn())

    def _spawn(self) -> subprocess.Popen[bytes]:
        # -P: a folder named "server" in the working directory must not shadow this package.
        code = "from server.cli import main; raise SystemExit(main())"
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", code, "serve", *self._arguments],
            pass_fds=[self._listener.fileno()],
            # A Ctrl-C in the terminal is passed on by the parent.
            start_new_session=True,
        )

    def _stop(self) -> None:
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_s + _GRACE_S
        for worker in self._workers:
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _on_stop(self, _: int, __: FrameType | None) -> None:
        if self._stopping.is_set():
            # At the second signal nobody waits.
            self._signal(signal.SIGTERM)
        self._stopping.set()

    def _on_reload(self, _: int, __: FrameType | None) -> None:
        self._signal(signal.SIGHUP)

    def _signal(self, sig: signal.Signals) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(sig)
