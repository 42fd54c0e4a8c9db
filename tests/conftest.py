"""Fixtures of all tests."""

from __future__ import annotations

import gc
import os
import ssl
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import forked_workers
import httpx
import pytest
from fake_provider import FakeProvider
from httpx._transports import default as transports
from httpx2._transports import default as transports2
from live_gateway import LiveGateway, config_for
from services import PostgresServer, RedisServer, postgres_server, redis_server
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import Compiled

from examples import choose_profile
from server.storage import database, writer
from server.storage.statements import Kind, Statement, statements

# Of one test with more cases than this, make test-fast tries about so many, and make test all.
MOST_FAST_CASES: Final = 15
# What most files with tests of torch, of constraints or of PostgreSQL import when they run.
IMPORTED_LATE: Final = ("torch._dynamo", "cvxpy", "alembic.command")

pytest_addoption = forked_workers.pytest_addoption


def pytest_configure(config: pytest.Config) -> None:
    choose_profile(config)
    forked_workers.register(config, IMPORTED_LATE)
    # Of the million objects that are there when the tests begin, none is garbage.
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process begins one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)
    _leave_to_all_tests(items)


def _leave_to_all_tests(items: list[pytest.Item]) -> None:
    """Marks the cases of large families as slow but for about MOST_FAST_CASES, which are the same
    in every run and spread over the values of all parameters."""
    families: dict[str, list[pytest.Item]] = {}
    for item in items:
        families.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in families.values():
        every = -(-len(cases) // MOST_FAST_CASES)
        for case in cases:
            if zlib.crc32(case.name.encode()) % every != 0:
                case.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads the data folder of whoever runs it, or writes into the ledger there."""
    home = tmp_path_factory.mktemp("data-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(home))
        yield home


@pytest.fixture(scope="session", autouse=True)
def authorities_are_read_once() -> Iterator[None]:
    """httpx, and the httpx2 of the official clients, read the public authorities for every client,
    which takes longer than most tests: the clients of the tests, which speak plain HTTP with this
    machine, share what was read."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (transports, transports2):
            patch.setattr(module, "create_ssl_context", _read_once(module.create_ssl_context))
        yield


def _read_once(read: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """What a client trusts that names nothing itself, by what the environment names."""
    known: dict[object, ssl.SSLContext] = {}

    def create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is not True or cert is not None:
            return read(verify, cert, trust_env)
        named = trust_env and tuple(os.environ.get(f"SSL_CERT_{kind}") for kind in ("FILE", "DIR"))
        if named not in known:
            known[named] = read(verify, cert, trust_env)
        return known[named]

    return create


@pytest.fixture(scope="session", autouse=True)
def statements_are_compiled_once() -> Iterator[None]:
    """Each gateway compiles the statements of its ledger: a fifth of what it costs to make one."""
    shared: dict[str, dict[Kind, Statement]] = {}

    def compiled(dialect: Dialect) -> dict[Kind, Statement]:
        if dialect.name not in shared:
            shared[dialect.name] = statements(dialect)
        return shared[dialect.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "statements", compiled)
        yield


class _Compiled(dict[tuple[object, ...], Compiled]):
    """Compiled queries by the kind of database, where SQLAlchemy keeps them by engine."""

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], value: Compiled) -> None:
        super().__setitem__((key[0].name, *key[1:]), value)


@pytest.fixture(scope="session", autouse=True)
def queries_are_compiled_once() -> Iterator[None]:
    """Each gateway has an engine, which compiles every query of the start again: a tenth of what a
    gateway costs."""
    with pytest.MonkeyPatch.context() as patch:
        options = {"compiled_cache": _Compiled()}
        create = partial(database.create_engine, execution_options=options)
        patch.setattr(database, "create_engine", create)
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The data folder beside the checkout; tests that need it are skipped without."""
    path = Path(os.environ.get("P2L_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("the data folder is not here (set P2L_DATA)")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; skipped, with the reason, where it is not installed."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis server, shared by all tests: each has to use keys of its own."""
    with redis_server() as server:
        yield server


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)],
)
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/p2l-router.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


KEY = "sk-provider-canary"


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(api_key=KEY) as fake:
        yield fake


@pytest.fixture
def gateway(provider: FakeProvider) -> Iterator[LiveGateway]:
    with LiveGateway(config_for(provider.base_url), {"MAIN_KEY": KEY}) as live:
        yield live


@pytest.fixture
def hurried(provider: FakeProvider) -> Iterator[httpx.Client]:
    """A client of a gateway that waits for its provider for a second only."""
    with (
        LiveGateway(config_for(provider.base_url, patience_s=1), {"MAIN_KEY": KEY}) as live,
        httpx.Client(base_url=live.url, trust_env=False, timeout=20) as http,
    ):
        yield http


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http:
        yield http
