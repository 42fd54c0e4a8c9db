"""pytest --workers N: N processes, forked when the tests have been collected, run them.

pytest-xdist starts an interpreter for each process, which imports and collects everything again;
here only the first process does. A process runs one file after the other, and keeps the fixtures
of the session until its last one; when no file is left, it takes half of what another has still to
do. A test whose process dies has failed; a new process goes on with the rest of its file.

Only what is quiet can be forked: no thread may run by then. On macOS, where system libraries do not
survive a fork, the Makefile takes pytest-xdist.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol

_SECONDS_TO_CLEAN_UP: Final = 60.0
_FORK: Final = get_context("fork")
# of Linux: which signal a process gets when its parent dies
_PR_SET_PDEATHSIG: Final = 1
# in place of what a process says
_ENDED: Final = object()


def pytest_addoption(parser: pytest.Parser) -> None:
    about = "run the tests in N forked processes, each file in one of them (default: in this one)"
    parser.addoption("--workers", type=int, default=1, metavar="N", help=about)


def register(config: pytest.Config, imports: Iterable[str]) -> None:
    """To be called by pytest_configure. imports: names of modules that most processes would import
    when they run tests: the first one does before it is forked."""
    if config.option.workers > 1:
        config.pluginmanager.register(_Parent(config.option.workers, imports))


@dataclass(slots=True)
class _Worker:
    """A process, and indices of tests. given: what it was told to run and has not reported, at most
    two. todo: what is planned for it after them. begun: whether it runs the first one given."""

    process: BaseProcess
    given: deque[int] = field(default_factory=deque)
    todo: deque[int] = field(default_factory=deque)
    begun: bool = False


class _Parent:
    """Gives tests to the processes, and shows what they report."""

    def __init__(self, most: int, imports: Iterable[str]) -> None:
        self._most = most
        self._imports = imports
        self._started = 0
        self._files: deque[deque[int]] = deque()
        self._workers: dict[Connection, _Worker] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        files: dict[Path, deque[int]] = {}
        for index, item in enumerate(session.items):
            files.setdefault(item.path, deque()).append(index)
        if session.testsfailed or session.config.option.collectonly or len(files) < 2:
            return None  # pytest's own loop
        for module in self._imports:
            import_module(module)
        self._files.extend(files.values())
        _folder_of(session.config).getbasetemp()  # made once: each process has a part of it
        try:
            for _ in range(min(self._most, len(files))):
                self._start(session)
            self._listen(session)
        finally:
            self._end()
        return True

    def _start(self, session: pytest.Session) -> None:
        """Starts a process, which is given its first test."""
        if threading.active_count() > 1:
            raise pytest.UsageError(f"--workers: a fork loses threads: {threading.enumerate()}")
        ours, theirs = _FORK.Pipe()
        self._started += 1
        inherited = [ours, *self._workers]
        process = _FORK.Process(target=_work, args=(session, theirs, inherited, self._started))
        with warnings.catch_warnings():
            # a thread of no Python's: that of pyarrow's allocator, which is made for forks
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        self._workers[ours] = _Worker(process)
        self._give_next(ours)

    def _give_next(self, to: Connection) -> None:
        """The next test; None where there is nothing left to do: the process then ends."""
        worker = self._workers[to]
        if not worker.todo:
            worker.todo = self._files.popleft() if self._files else self._half_of_the_most()
        index = worker.todo.popleft() if worker.todo else None
        if index is not None:
            worker.given.append(index)
        with suppress(BrokenPipeError):  # it has died, which is found when it is read
            to.send(index)

    def _half_of_the_most(self) -> deque[int]:
        """The later half of the longest plan, for whoever has nothing to do."""
        longest = max((worker.todo for worker in self._workers.values()), key=len)
        half: deque[int] = deque()
        while len(half) < len(longest):
            half.appendleft(longest.pop())
        return half

    def _listen(self, session: pytest.Session) -> None:
        while self._workers:
            for connection in wait(list(self._workers)):
                assert isinstance(connection, Connection)
                said = _next_of(connection)
                if said is _ENDED:
                    self._bury(session, connection)
                else:
                    self._hear(session, connection, said)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    def _hear(self, session: pytest.Session, connection: Connection, reports: Any) -> None:
        """A process says that it begins a test (None), or what became of it."""
        worker = self._workers[connection]
        worker.begun = reports is None
        if reports is None:
            self._give_next(connection)
        else:
            config, item = session.config, session.items[worker.given.popleft()]
            read = config.hook.pytest_report_from_serializable
            _show(item, [read(config=config, data=data) for data in reports])

    def _bury(self, session: pytest.Session, connection: Connection) -> None:
        """A process has ended. What it leaves undone is given to a new one."""
        worker = self._workers.pop(connection)
        connection.close()
        worker.process.join()
        if worker.begun:
            item = session.items[worker.given.popleft()]
            _show(item, [_of_death(item, worker.process.exitcode)])
        if undone := worker.given + worker.todo:
            self._files.appendleft(undone)
        if self._files:
            self._start(session)

    def _end(self) -> None:
        """Interrupts what still runs: its fixtures are torn down."""
        left = [worker.process for worker in self._workers.values()]
        for process in left:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGINT)
        for process in left:
            process.join(_SECONDS_TO_CLEAN_UP)
            process.kill()


def _next_of(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        return _ENDED


def _of_death(item: pytest.Item, status: int | None) -> pytest.TestReport:
    """The report of a test whose process died. status: as multiprocessing has it."""
    ended = f"by signal {-status}" if status is not None and status < 0 else f"with status {status}"
    return pytest.TestReport(
        item.nodeid, item.location, {}, "failed", f"the process of this test ended {ended}", "call"
    )


def _written(item: pytest.Item, report: pytest.TestReport) -> dict[str, Any]:
    data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
    assert isinstance(data, dict)
    return data


def _show(item: pytest.Item, reports: Iterable[pytest.TestReport]) -> None:
    """As pytest does when it runs a test itself."""
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)


def _work(
    session: pytest.Session, parent: Connection, inherited: Iterable[Connection], number: int
) -> None:
    """What a process does. number: of the process, from 1."""
    for connection in inherited:  # held open here, they would outlive their owners
        connection.close()
    os.setsid()  # Ctrl-C reaches the first process alone, which interrupts the others
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)  # and so does its death
    _take_own_places(session.config, number)
    session.config.pluginmanager.register(_Child(parent))
    try:
        _run(session, parent)
    except (KeyboardInterrupt, EOFError, ConnectionError):  # interrupted, or the parent is dead
        with suppress(Exception):  # a fixture can be half made
            session._setupstate.teardown_exact(None)


def _take_own_places(config: pytest.Config, number: int) -> None:
    """A folder, and files for what tests print: what was inherited is shared with the others."""
    factory = _folder_of(config)
    factory._basetemp = factory.getbasetemp() / f"worker-{number}"
    factory._basetemp.mkdir(mode=0o700)
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()


def _folder_of(config: pytest.Config) -> pytest.TempPathFactory:
    factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    return factory


def _run(session: pytest.Session, parent: Connection) -> None:
    index = parent.recv()
    while index is not None:
        item = session.items[index]
        parent.send(None)
        index = parent.recv()
        following = None if index is None else session.items[index]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)


class _Child:
    """Runs a test, and sends the parent its reports in place of showing them."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        self._parent.send([_written(item, report) for report in reports])
        return True
