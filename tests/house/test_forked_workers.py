"""Runs of a few files by forked processes: pytest says of them what it says of one process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
CONFTEST = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
import os, pytest
from forked_workers import pytest_addoption, register

def pytest_configure(config):
    register(config, ["colorsys"])

@pytest.fixture(scope="session", autouse=True)
def whole_session(tmp_path_factory):
    folder = os.environ["NOTES"]
    open(f"{{folder}}/up-{{os.getpid()}}", "x").close()
    yield
    os.rename(f"{{folder}}/up-{{os.getpid()}}", f"{{folder}}/down-{{os.getpid()}}")
"""
ALL_OUTCOMES = """
import warnings
import pytest

@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")

@pytest.fixture
def broken():
    yield
    raise OSError("torn")

def test_passes(place): assert place.is_dir()
def test_fails(tmp_path): print("said", tmp_path.name); assert [1, 2] == [1, 3]
def test_cannot_end(broken): pass
def test_is_skipped(): pytest.skip("not here")
@pytest.mark.xfail
def test_fails_as_expected(): raise ValueError
def test_warns(): warnings.warn("old", DeprecationWarning)
@pytest.mark.parametrize("value", ["a b", "\\u00e9"])
def test_values(value): assert value
"""


class Run:
    """A run of pytest in a folder of its own."""

    def __init__(self, folder: Path, files: dict[str, str], *arguments: str) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir(exist_ok=True)
        (folder / "conftest.py").write_text(CONFTEST)
        for name, text in files.items():
            (folder / f"test_{name}.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
        self.process = subprocess.Popen(
            [*command, "-q", "-rA", "--junitxml", str(folder / "results.xml"), *arguments],
            cwd=folder,
            env=os.environ | {"NOTES": str(self.notes), "PYTEST_DEBUG_TEMPROOT": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._results = folder / "results.xml"

    def end(self) -> str:
        """What it said, when it has ended."""
        said, _ = self.process.communicate(timeout=60)
        return said

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until it holds, for half a minute at most."""
        until = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.01)

    def results(self) -> set[tuple[str, str, str]]:
        """Of each test its file, its name, and what became of it."""
        cases = ElementTree.parse(self._results).iter("testcase")
        return {
            (case.get("classname", ""), case.get("name", ""), ",".join(sorted(x.tag for x in case)))
            for case in cases
        }

    def sessions(self) -> tuple[int, int]:
        """How many processes set the session's fixture up, and how many tore it down again."""
        down = len(list(self.notes.glob("down-*")))
        return len(list(self.notes.glob("up-*"))) + down, down


def summary(said: str) -> list[str]:
    """The short summary, and the last line without its seconds."""
    lines = [line for line in said.splitlines() if re.match("(PASS|FAIL|ERR|SKIP|XF)", line)]
    return [*sorted(lines), re.sub(r" in \d.*", "", said.splitlines()[-1])]


@pytest.mark.slow
def test_what_became_of_a_test_is_told_as_by_one_process(tmp_path: Path) -> None:
    files = dict.fromkeys("abcde", ALL_OUTCOMES)
    told = {}
    for workers in ("1", "3"):
        folder = tmp_path / workers
        folder.mkdir()
        run = Run(folder, files, "--workers", workers)
        said = run.end()
        assert run.process.returncode == 1
        # what a test printed is beside its failure, and nowhere else
        assert said.count("\nsaid test_fails") == said.count("- Captured stdout call") == 5
        up, down = run.sessions()
        assert up == down <= int(workers)
        told[workers] = summary(said), run.results()
    assert told["1"] == told["3"]
    assert len(told["3"][1]) == 5 * 8


@pytest.mark.slow
def test_a_test_whose_process_dies_has_failed_and_all_others_run(tmp_path: Path) -> None:
    dying = """
import os, signal
def test_before(): pass
def test_exits(): os._exit(0)
def test_between(): pass
def test_is_killed(): os.kill(os.getpid(), signal.SIGKILL)
def test_after(): pass
def test_last_is_killed(): os.kill(os.getpid(), signal.SIGKILL)
"""
    run = Run(tmp_path, dict.fromkeys("abc", dying), "--workers", "2")
    said = run.end()
    assert run.process.returncode == 1
    assert "9 failed, 9 passed" in said
    assert len(run.results()) == 18
    assert said.count("FAILED test_b.py::test_exits - the process of this test ended with") == 1
    assert said.count("FAILED test_c.py::test_is_killed - the process of this test ended by") == 1
    assert "Traceback" not in said


STOPS = {
    "maxfail": (1, "stopping after 1 failure"),
    "interrupt": (2, "KeyboardInterrupt"),
    "terminate": (-signal.SIGTERM, ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", STOPS)
def test_what_is_stopped_tears_down_what_it_has_set_up(tmp_path: Path, how: str) -> None:
    """A failure with -x, Ctrl-C, or the end of the first process, while others are in the middle of
    a test."""
    waiting = """
import os, pathlib, time
def test_waits():
    pathlib.Path(os.environ["NOTES"], "waits").touch()
    time.sleep(100)
"""
    failing = """
import os, pathlib, time
def test_fails():
    while not pathlib.Path(os.environ["NOTES"], "waits").exists(): time.sleep(0.01)
    assert not FAILS
    pathlib.Path(os.environ["NOTES"], "both").touch()
    time.sleep(100)
"""
    files = {"waits": waiting, "fails": failing.replace("FAILS", str(how == "maxfail"))}
    run = Run(tmp_path, files, "--workers", "2", "-x")
    if how != "maxfail":
        run.wait_for(lambda: (run.notes / "both").exists())
        run.process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGTERM)
    said = run.end()
    status, words = STOPS[how]
    assert run.process.returncode == status
    assert words in said
    run.wait_for(lambda: run.sessions() == (2, 2))


@pytest.mark.slow
def test_who_has_nothing_left_takes_half_of_what_another_has(tmp_path: Path) -> None:
    """A file of one test that waits until both processes are at the other file."""
    long = """
import os, pathlib, sys, time
import pytest
assert "colorsys" not in sys.modules
NOTES = pathlib.Path(os.environ["NOTES"])
@pytest.mark.parametrize("number", range(20))
def test_one(number):
    assert "colorsys" in sys.modules
    (NOTES / f"at-{os.getpid()}").touch()
    until = time.monotonic() + 30
    while len(list(NOTES.glob("at-*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
"""
    run = Run(tmp_path, {"a": long, "b": "def test_short(): pass"}, "--workers", "2")
    assert "21 passed" in run.end()


@pytest.mark.slow
def test_a_thread_would_be_lost(tmp_path: Path) -> None:
    starts = """
import threading
threading.Thread(target=threading.Event().wait, name="kept", daemon=True).start()
def test_one(): pass
"""
    run = Run(tmp_path, {"a": starts, "b": "def test_two(): pass"}, "--workers", "2")
    assert "a fork loses threads" in run.end()
    assert run.process.returncode == 4


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_an_error_and_nothing_runs(tmp_path: Path) -> None:
    files = {"a": "def test_one(): pass", "b": "def test_two(): pass", "c": "import nowhere"}
    run = Run(tmp_path, files, "--workers", "2")
    said = run.end()
    assert run.process.returncode == 2
    assert "1 error during collection" in said
    assert run.sessions() == (0, 0)
