"""How soon the gateway serves, and what memory it needs: with a fixed leaderboard, and with the
bundled checkpoint.

python benchmarks/bench_start.py [--runs 7] [--imports 15]

Ready: /readyz says so. Memory is the process's resident set, beside its own share of it (PSS
without pages that other processes map too), when it is ready and after a thousand requests.
--imports: the slowest modules, by python -X importtime.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "gateway"))

from servers import (
    LOAD_CORE,
    SERVER_CORE,
    Subject,
    free_ports,
    ours,
    provider,
    run_load,
    running,
    spawn,
)

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")


def start(subject: Subject, folder: Path) -> dict[str, float]:
    """One start, a thousand requests, and the end."""
    plan = subject.asked({"clients": 8, "seconds": 0.0, "at_least": 1000})
    with (folder / "log").open("wb") as log:
        began = time.perf_counter()
        process = spawn(subject, folder, log, SERVER_CORE)
    try:
        _until_ready(subject.port, process)
        seen = {"ready_s": time.perf_counter() - began, "cpu_s": subject.cpu_s()}
        seen |= {"rss_mb": subject.rss_mb(), "pss_mb": _pss_mb(process.pid)}
        run_load(subject.url, plan)
        seen |= {"rss_after_mb": subject.rss_mb(), "pss_after_mb": _pss_mb(process.pid)}
        seen["torch"] = float("libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
        return seen
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def imports(subject: Subject, folder: Path, n: int) -> None:
    """Those that take the most time of their own while the gateway starts."""
    log = folder / "imports"
    with log.open("wb") as file:
        done = subprocess.Popen(
            [sys.executable, "-X", "importtime", *subject.command],
            cwd=folder,
            env={**os.environ, **subject.environ},
            stderr=file,
        )
    _until_ready(subject.port, done)
    done.send_signal(signal.SIGTERM)
    done.wait(20)
    found = [_IMPORT.match(line) for line in log.read_text().splitlines()]
    own = sorted(((int(m[1]), m[4]) for m in found if m), reverse=True)
    print(f"\n{len(own)} modules, {sum(us for us, _ in own) / 1000:.0f} ms; those of their own:")
    for us, name in own[:n]:
        print(f"    {us / 1000:6.1f} ms  {name}")


def _until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("the gateway did not get ready")


def _pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1000 if found else float("nan")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--imports", type=int, default=0)
    args = parser.parse_args()
    print(
        "| | ready s (least, median) | CPU s | RSS MB | PSS MB | after 1,000 requests: RSS | PSS |"
    )
    print("|---|---|---|---|---|---|---|")
    for which in ("fixed", "bundled"):
        runs = []
        for _ in range(args.runs):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                upstream, port = free_ports(2)
                with running(provider(upstream), LOAD_CORE, folder):
                    runs.append(start(ours(which, port, upstream, folder), folder))
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        least = min(run["ready_s"] for run in runs)
        shown = [f"{least:.2f}, {middle['ready_s']:.2f}", f"{middle['cpu_s']:.2f}"]
        keys = ("rss_mb", "pss_mb", "rss_after_mb", "pss_after_mb")
        shown += [f"{middle[key]:.0f}" for key in keys]
        with_torch = ", torch loaded" if middle["torch"] else ""
        print(f"| {which}{with_torch} | {' | '.join(shown)} |", flush=True)
    if args.imports:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            upstream, port = free_ports(2)
            imports(ours("bundled", port, upstream, folder), folder, args.imports)


if __name__ == "__main__":
    main()
