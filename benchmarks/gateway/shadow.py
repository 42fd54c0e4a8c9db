"""What second answers add to the latency of the live requests.

python benchmarks/gateway/shadow.py [--rounds 20] [--seconds 15] [--share 0.05]

Two gateways of this version, one with a share of second answers and one without, get the same load
of streams in turn, on one core each time; the order changes with every round. The difference of a
quantile is a mean over rounds, with a 95% interval by resampling the rounds.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from servers import LOAD_CORE, SERVER_CORE, Subject, free_ports, ours, provider, run_load, running

QUANTILES = ("p50_ms", "p99_ms", "first_p50_ms", "gap_p99_ms")


def interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """The mean, and its 95% interval over resamples."""
    rng = random.Random(seed)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(2_000))
    return statistics.fmean(values), means[50], means[-51]


def graded(subject: Subject) -> int:
    """How many second answers it has graded so far."""
    with urllib.request.urlopen(subject.url.replace("/v1/chat/completions", "/metrics")) as page:
        text = page.read().decode()
    found = re.search(r'shadow_requests_total{outcome="graded"} ([0-9.]+)', text)
    return 0 if found is None else int(float(found[1]))


def measured(subject: Subject, plan: dict[str, Any]) -> dict[str, float]:
    cell = run_load(subject.url, subject.asked(plan))
    if cell["bad"]:
        raise RuntimeError(f"{cell['bad']} answers of {subject.name} were wrong")
    return {name: float(cell[name]) for name in QUANTILES}


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--clients", type=int, default=8)
    args = parser.parse_args()
    plan = {"clients": args.clients, "seconds": args.seconds, "chunks": 20, "delay_ms": 10.0}
    learning = f"learning: {{share: {args.share}, usd_per_day: 1000, judge: fake-b}}\n"
    upstream, *ports = free_ports(3)
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running(provider(upstream), LOAD_CORE, folder))
        subjects = []
        for name, port, extra in zip(found, ports, ("", learning), strict=True):
            subject = ours("fixed", port, upstream, folder, extra=extra)
            subject.name = name
            subjects.append(stack.enter_context(running(subject, SERVER_CORE, folder)))
        for number in range(args.rounds + 1):
            for subject in subjects if number % 2 == 0 else reversed(subjects):
                cell = measured(subject, plan)
                if number > 0:  # what is made once is made in the first round
                    found[subject.name].append(cell)
        print(f"{graded(subjects[1])} second answers were graded")
    print("| | without, ms | with, ms | difference, ms |\n|---|---|---|---|")
    for name in QUANTILES:
        pairs = list(zip(found["without"], found["with"], strict=True))
        mean, low, high = interval([after[name] - before[name] for before, after in pairs])
        medians = [statistics.median(one[name] for one in found[which]) for which in found]
        print(
            f"| {name.removesuffix('_ms')} | {medians[0]:.2f} | {medians[1]:.2f} "
            f"| {mean:+.2f} [{low:+.2f}, {high:+.2f}] |"
        )


if __name__ == "__main__":
    main()
