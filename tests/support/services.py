"""PostgreSQL and Redis as Debian ships them, each a process of its own in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_POSTGRES_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_START_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """A cluster of its own, by trust on loopback; `database()` makes a fresh database: a user with
    a schema of its own, where a user's tables go. A database in PostgreSQL's sense is a thousand
    files, which take a tenth of a second to copy and as long to delete."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._bin = binaries
        self.data = folder / "data"
        self._socket = folder
        self.port = free_port()
        self._n_databases = 0
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(self.data), "-U", "p2l", "-A", "trust", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self._socket} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self._socket / "log")
        self._run("pg_ctl", "-D", str(self.data), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._n_databases += 1
        name = f"test_{self._n_databases}"
        place = f"127.0.0.1:{self.port}/postgres"
        with psycopg.connect(f"postgresql://p2l@{place}") as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER")
            connection.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
        return f"postgresql://{name}@{place}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if os.geteuid() == 0:
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.decode()[-500:]}")


class RedisServer:
    """An empty Redis on a port of its own; append-only where it is to survive a restart."""

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        self._folder = folder
        self._keeps = keeps
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, and waits until it has loaded what it kept."""
        self.begin()
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(0.02)
        raise RuntimeError("redis-server did not start")

    def begin(self, *options: str) -> None:
        """Starts it and waits for nothing: it refuses connections, and then says LOADING."""
        keeps = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps else []
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            ["redis-server", *place, *keeps, *options],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(_START_S)
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


def _missing(program: str, package: str) -> None:
    reason = f"{program} is not installed: apt-get install {package}"
    if os.environ.get("P2L_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    if not _POSTGRES_PLACES:
        _missing("PostgreSQL", "postgresql")
    with tempfile.TemporaryDirectory(prefix="p2l-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(_POSTGRES_PLACES[0], Path(folder))
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def redis_server(*, keeps: bool = False) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        _missing("redis-server", "redis-server")
    with tempfile.TemporaryDirectory(prefix="p2l-redis-", ignore_cleanup_errors=True) as folder:
        server = RedisServer(Path(folder), keeps=keeps)
        try:
            yield server
        finally:
            server.stop()
