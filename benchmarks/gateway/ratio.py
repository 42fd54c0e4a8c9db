"""What a request costs compared with another version of this project, in CPU of the gateway.

git worktree add ../before COMMIT
python -m venv ../before/.venv && ../before/.venv/bin/pip install ../before
python benchmarks/gateway/ratio.py --old ../before [--starts 4] [--rounds 14]

Both gateways run on one core, ask one provider and get the same loads, in turn and in the opposite
order in every second round: what else the machine does meets both. They are started several times,
since the places of things in memory make one process some percent faster than the next. Of a round
the ratio counts; of all rounds the least CPU, which is nearest to that of an idle machine.

To measure what a setting costs, compare a version with itself: --old . --new-extra 'routing: ...'.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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

LOADS: dict[str, dict[str, Any]] = {
    "plain request": {"clients": 4, "at_least": 600},
    "stream of 100 chunks": {"clients": 4, "chunks": 100, "at_least": 150},
}


def cpu_us(subject: Subject, plan: dict[str, Any]) -> float:
    """CPU microseconds per request of one load. Raises RuntimeError where an answer is wrong."""
    before_s = subject.cpu_s()
    cell = run_load(subject.url, subject.asked({**plan, "seconds": 0.0}))
    if cell["bad"]:
        raise RuntimeError(f"{cell['bad']} answers of {subject.name} were wrong")
    return (subject.cpu_s() - before_s) * 1e6 / int(cell["requests"])


@contextmanager
def both(old: Path, which: str, extra: Mapping[str, str]) -> Iterator[tuple[Subject, Subject]]:
    """The old gateway and the new one, running. extra: more of each one's configuration."""
    upstream, *ports = free_ports(3)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = []
        for name, port in zip(("old", "new"), ports, strict=True):
            subject = ours(which, port, upstream, folder, extra=extra[name])
            subject.name = name
            subjects.append(subject)
        subjects[0].command[0] = str(old.absolute() / ".venv/bin/p2l-router")
        stack.enter_context(running(provider(upstream), LOAD_CORE, folder))
        for subject in subjects:
            stack.enter_context(running(subject, SERVER_CORE, folder))
        yield subjects[0], subjects[1]


def compare(
    subjects: tuple[Subject, Subject], plan: dict[str, Any], rounds: int
) -> list[tuple[float, float]]:
    """CPU microseconds per request of the old and the new one, by round."""
    old, new = subjects
    found = []
    for number in range(rounds):
        order = (old, new) if number % 2 == 0 else (new, old)
        used = {subject.name: cpu_us(subject, plan) for subject in order}
        found.append((used["old"], used["new"]))
    return found


def row(name: str, found: list[tuple[float, float]]) -> str:
    low, median, high = statistics.quantiles([new / old for old, new in found], n=4)
    least = [min(pair[k] for pair in found) for k in (0, 1)]
    ratios = f"{median:.3f} ({low:.3f} to {high:.3f})"
    return f"| {name} | {ratios} | {least[0]:,.0f} | {least[1]:,.0f} | {least[1] - least[0]:+.0f} |"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--old", type=Path, default=Path(), help="its folder, with a .venv")
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=14, help="for each start")
    parser.add_argument("--which", default="budgets", help="fixed, budgets or bundled")
    parser.add_argument("--old-extra", default="", help="more YAML for the old configuration")
    parser.add_argument("--new-extra", default="", help="more YAML for the new configuration")
    args = parser.parse_args()
    print("| load | new ÷ old (quartiles) | old, least µs | new, least µs | difference |")
    print("|---|---|---|---|---|")
    extra = {"old": args.old_extra, "new": args.new_extra}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in LOADS}
    for _ in range(args.starts):
        with both(args.old, args.which, extra) as subjects:
            for name, plan in LOADS.items():
                compare(subjects, plan, 1)  # what is made once is made now
                found[name] += compare(subjects, plan, args.rounds)
    for name, pairs in found.items():
        print(row(name, pairs))


if __name__ == "__main__":
    main()
