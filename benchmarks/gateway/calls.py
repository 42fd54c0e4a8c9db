"""How many functions of Python and C a request calls: a count of work that no noise changes.

python benchmarks/gateway/calls.py [--top 40] [--which fixed]

The gateway runs under cProfile, which counts what its event loop's thread calls while a load runs;
each step of a coroutine is a call. What a call costs is not in it: a slower one is not seen, one
more layer is.
"""

from __future__ import annotations

import argparse
import os
import pstats
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from servers import (
    LOAD_CORE,
    SERVER_CORE,
    Subject,
    free_ports,
    ours,
    provider,
    run_load,
    running,
)

# One client: each request has a round of the event loop for itself. Enough answers for what the
# process does now and then to be a small part.
LOADS: dict[str, dict[str, Any]] = {
    "request": {"clients": 1, "at_least": 200},
    "chunk, each alone": {"clients": 1, "chunks": 300, "delay_ms": 2.0, "at_least": 1},
    "chunk, as fast as they come": {"clients": 1, "chunks": 1000, "delay_ms": 0.0, "at_least": 3},
}
_COUNTED = """
import cProfile, os, signal, sys
profile = cProfile.Profile()
running = False
def toggle(*_):
    global running
    if running:
        profile.disable()
        profile.dump_stats(os.environ["CALLS_OUT"] + ".part")
        os.replace(os.environ["CALLS_OUT"] + ".part", os.environ["CALLS_OUT"])
    else:
        profile.clear()
        profile.enable()
    running = not running
signal.signal(signal.SIGUSR1, toggle)
exec(os.environ.get("CALLS_FIRST", ""))
from server.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Count:
    """The calls of one load. units: the requests or chunks that they were for."""

    stats: Any
    units: int

    @property
    def per_unit(self) -> float:
        """Calls per request, or per chunk."""
        return float(self.stats.total_calls / self.units)

    @property
    def of_python(self) -> float:
        """Those of functions written in Python: the other ones depend on its version."""
        calls = [row[1] for (file, _, _), row in self.stats.stats.items() if file != "~"]
        return sum(calls) / self.units

    def top(self, n: int) -> Iterator[str]:
        """A line for each of the functions in which most time was, under the profiler."""
        rows = sorted(self.stats.stats.items(), key=lambda row: -row[1][3])
        for (file, line, function), (_, n_calls, own_s, total_s, _) in rows[:n]:
            shown = [n_calls / self.units, 1e6 * own_s / self.units, 1e6 * total_s / self.units]
            numbers = "{:6.2f} calls {:7.1f} us own {:7.1f} us in all".format(*shown)
            yield f"{numbers}  {Path(file).name}:{line}({function})"


class Counter:
    """A gateway whose calls can be counted."""

    def __init__(self, subject: Subject, out: Path) -> None:
        self._subject = subject
        self._out = out

    @property
    def pid(self) -> int:
        return self._subject.pid

    def count(self, plan: dict[str, Any], seconds: float = 0.0) -> Count:
        """The calls of one load. Raises RuntimeError where an answer is wrong."""
        plan = {"model": self._subject.model, "headers": self._subject.headers, **plan}
        warm = {**plan, "at_least": 1, "seconds": 0.0}
        _run(self._subject.url, warm)  # what is made once is made now
        os.kill(self._subject.pid, signal.SIGUSR1)
        cell = _run(self._subject.url, {**plan, "seconds": seconds})
        os.kill(self._subject.pid, signal.SIGUSR1)
        until = time.monotonic() + 20
        while not self._out.exists():
            if time.monotonic() > until:
                raise TimeoutError("the profile was not written")
            time.sleep(0.01)
        stats = pstats.Stats(str(self._out))
        self._out.unlink()
        return Count(stats, cell["chunks"] or cell["requests"])


@contextmanager
def counter(which: str, folder: Path, first: str = "") -> Iterator[Counter]:
    """which: fixed, budgets or bundled. first: statements that the gateway executes before it
    starts."""
    upstream, port = free_ports(2)
    subject = ours(which, port, upstream, folder)
    out = folder / "calls"
    subject.command = [sys.executable, "-c", _COUNTED, *subject.command[1:]]
    subject.environ |= {"CALLS_OUT": str(out), "CALLS_FIRST": first}
    with (
        running(provider(upstream), LOAD_CORE, folder),
        running(subject, SERVER_CORE, folder),
    ):
        yield Counter(subject, out)


def _run(url: str, plan: dict[str, Any]) -> dict[str, Any]:
    cell = run_load(url, plan)
    if cell["bad"]:
        raise RuntimeError(f"{cell['bad']} answers were wrong")
    return cell


def main() -> None:
    """Prints the counts, and who is called most."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--top", type=int, default=0)
    parser.add_argument("--which", default="budgets", help="fixed, budgets or bundled")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        counter(args.which, Path(folder)) as gateway,
    ):
        for name, plan in LOADS.items():
            found = gateway.count(plan, seconds=1.0)
            shown = f"{found.of_python:8.1f} calls of Python, {found.per_unit:8.1f} in all"
            print(f"{shown}, per {name}")
            for line in found.top(args.top):
                print(f"    {line}")


if __name__ == "__main__":
    main()
