"""How the code is laid out, and how far a reader has to walk who follows one request.

python benchmarks/gateway/survey.py [--root CHECKOUT]

--root: another checkout, with an environment of its own in .venv, to compare with. Printed are the
modules at the top of each package, the circles of imports between rooms, the lengths of functions,
and, for one warm plain request on a gateway with a key, a window and a ledger: how many files of
ours are entered, and how often the way leads from one file into another.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import grimp
from servers import (
    LOAD_CORE,
    SERVER_CORE,
    free_ports,
    ours,
    provider,
    run_load,
    running,
)

HERE = Path(__file__).parents[2]
PACKAGES = ("server", "router", "p2l_model")
# The walk is written down between two signals, by the event loop's thread alone.
_WALKED = """
import json, os, signal, sys
root, out = os.environ["WALK_ROOT"], os.environ["WALK_OUT"]
files, moves, last, running = {}, 0, None, False
def walk(frame, event, _):
    global moves, last
    if event != "call":
        return
    file = frame.f_code.co_filename
    if not file.startswith(root) or "/.venv/" in file:
        return
    files[file] = files.get(file, 0) + 1
    moves, last = moves + (file != last), file
def toggle(*_):
    global running, moves, last
    running = not running
    if running:
        files.clear()
        moves, last = 0, None
        sys.setprofile(walk)
    else:
        sys.setprofile(None)
        with open(out + ".part", "w") as target:
            json.dump({"files": len(files), "moves": moves}, target)
        os.replace(out + ".part", out)
signal.signal(signal.SIGUSR1, toggle)
from server.cli import main
sys.exit(main(sys.argv[1:]))
"""


def functions(root: Path) -> Iterator[int]:
    """The lines of each."""
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield (node.end_lineno or node.lineno) - node.lineno + 1


def circles(root: Path) -> dict[str, list[list[str]]]:
    """package -> the rooms that import each other in a circle."""
    sys.path.insert(0, str(root))
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    found = {}
    for package in PACKAGES:
        arrows: dict[str, set[str]] = defaultdict(set)
        for module in graph.modules:
            for other in graph.find_modules_directly_imported_by(module):
                one, two = module.split("."), other.split(".")
                if one[0] == two[0] == package and len(one) > 1 < len(two) and one[1] != two[1]:
                    arrows[one[1]].add(two[1])
        found[package] = [circle for circle in _components(arrows) if len(circle) > 1]
    return found


def _components(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Of rooms that reach each other, over any number of arrows."""
    reach = {room: _reached(room, arrows) for room in list(arrows)}
    components = []
    seen: set[str] = set()
    for room, there in reach.items():
        if room not in seen:
            component = sorted(o for o in there | {room} if room in reach.get(o, ()) or o == room)
            seen.update(component)
            components.append(component)
    return components


def _reached(room: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [room]
    while ahead:
        for other in arrows.get(ahead.pop(), ()):
            if other not in found:
                found.add(other)
                ahead.append(other)
    return found


def walk(root: Path) -> dict[str, Any]:
    """files and moves of one plain request."""
    upstream, port = free_ports(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject = ours("budgets", port, upstream, folder)
        python = root / ".venv" / "bin" / "python"
        subject.command = [str(python), "-c", _WALKED, *subject.command[1:]]
        out = folder / "walk"
        subject.environ |= {
            "WALK_ROOT": f"{root}/",
            "WALK_OUT": str(out),
            "PYTHONPATH": str(root),
        }
        plan = {"model": subject.model, "headers": subject.headers, "clients": 1, "seconds": 0.0}
        with running(provider(upstream), LOAD_CORE, folder), running(subject, SERVER_CORE, folder):
            run_load(subject.url, {**plan, "at_least": 50})
            time.sleep(0.5)  # what the storage does in the background is over
            os.kill(subject.pid, signal.SIGUSR1)
            run_load(subject.url, {**plan, "at_least": 1})
            os.kill(subject.pid, signal.SIGUSR1)
            until = time.monotonic() + 20
            while not out.exists() and time.monotonic() < until:
                time.sleep(0.01)
            walked: dict[str, Any] = json.loads(out.read_text())
            return walked


def main() -> None:
    """Prints all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", type=Path, default=HERE)
    root = parser.parse_args().root.resolve()
    for package in PACKAGES:
        modules = [f.name for f in (root / package).glob("*.py") if f.name != "__init__.py"]
        print(f"{package}: {len(modules)} modules at its top")
    for package, found in circles(root).items():
        print(f"{package}: circles of imports: {found or 'none'}")
    lengths = sorted(functions(root))
    p90 = lengths[int(0.9 * len(lengths))]
    print(f"functions: median {statistics.median(lengths)} lines, nine in ten at most {p90}")
    walked = walk(root)
    print(f"one plain request: {walked['files']} files entered, {walked['moves']} moves")


if __name__ == "__main__":
    main()
