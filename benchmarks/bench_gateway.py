"""What forwarding a request costs: direct, a minimal proxy, LiteLLM, Portkey and ours, interleaved.

python benchmarks/bench_gateway.py [--rounds 3] [--seconds 2] [--only fixed,minimal]
    [--fresh PYTHON] [--litellm PATH] [--portkey /where/npm/installed/it]
    [--clients 1,16,64,256] [--streams 64x100@10,16x200@0]

Servers share one core and the load and the provider another; within a round all subjects run one
after the other in random order. CPU time and ratios within a round are what to read: seconds are
those of this machine on this day.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "gateway"))

from servers import (
    LOAD_CORE,
    SERVER_CORE,
    Subject,
    free_ports,
    litellm,
    measure,
    minimal,
    ours,
    portkey,
    provider,
    running,
)

Cell = dict[str, Any]
Results = dict[tuple[str, str], list[Cell]]  # (kind of load, subject) -> one cell a round
DIRECT, MINIMAL = "direct", "minimal FastAPI + httpx proxy"


def rounds(subjects: list[Subject], args: argparse.Namespace) -> Results:
    """All cells, interleaved."""
    results: Results = defaultdict(list)
    for subject in subjects:
        measure(subject, {"clients": 4, "seconds": 0.5})  # warm
    for number in range(args.rounds):
        for load, plan in plans(args).items():
            for subject in random.sample(subjects, len(subjects)):
                if subject.varied and plan["clients"] > 16:
                    continue  # the model alone would be measured
                results[load, subject.name].append(measure(subject, plan))
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    return results


def plans(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Name -> the load's parameters."""
    found = {}
    for clients in filter(None, args.clients.split(",")):
        plan = {"clients": int(clients), "seconds": args.seconds}
        found[f"{clients} clients"] = plan
    for stream in filter(None, args.streams.split(",")):
        clients, rest = stream.split("x")
        chunks, delay = rest.split("@")
        plan = {"clients": int(clients), "seconds": args.seconds, "chunks": int(chunks)}
        found[f"{clients} streams of {chunks} chunks, {delay} ms apart"] = {
            **plan,
            "delay_ms": float(delay),
        }
    return found


def median(cells: list[Cell], key: str) -> float:
    """Over the rounds; NaN where there is nothing."""
    values = [cell[key] for cell in cells if cell.get(key) is not None]
    return statistics.median(values) if values else float("nan")


def against(results: Results, load: str, name: str, other: str, key: str, minus: bool) -> float:
    """The median over rounds of a ratio to another subject's cell of the same round, or of the
    difference."""
    pairs = zip(results[load, name], results[load, other], strict=False)
    values = [
        mine[key] - theirs[key] if minus else mine[key] / theirs[key]
        for mine, theirs in pairs
        if mine.get(key) is not None and theirs.get(key)
    ]
    return statistics.median(values) if values else float("nan")


def table(results: Results, load: str, names: list[str]) -> list[str]:
    """Markdown, ratios first."""
    streamed = "streams" in load
    unit = "chunk" if streamed else "request"
    rate = "chunks_per_s" if streamed else "per_s"
    head = [f"x minimal's CPU per {unit}", f"x minimal's {unit}s/s", "added p50 ms", "added p99 ms"]
    if streamed:
        head[2:] = ["added first chunk ms", "x direct's gap p99"]
    head += [f"CPU µs per {unit}", f"{unit}s/s", "p50 ms", "p99 ms", "RSS MB", "wrong"]
    rows = [f"\n### {load}\n", f"| subject | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name in names:
        cells = results[load, name]
        if not cells:
            continue
        ratios = [against(results, load, name, MINIMAL, key, False) for key in ("cpu_us", rate)]
        first = "first_p50_ms" if streamed else "p50_ms"
        ratios.append(against(results, load, name, DIRECT, first, True))
        if streamed:
            ratios.append(against(results, load, name, DIRECT, "gap_p99_ms", False))
        else:
            ratios.append(against(results, load, name, DIRECT, "p99_ms", True))
        keys = ("cpu_us", rate, "first_p50_ms" if streamed else "p50_ms")
        plain = [median(cells, key) for key in (*keys, "gap_p99_ms" if streamed else "p99_ms")]
        plain.append(median(cells, "rss_mb"))
        shown = [f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in ratios + plain]
        rows.append(f"| {name} | {' | '.join(shown)} | {sum(c['bad'] for c in cells)} |")
    return rows


def main() -> None:
    """Starts everything, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", default="1,16,64,256")
    parser.add_argument("--streams", default="64x100@10,16x200@0")
    parser.add_argument("--only", default="minimal,fixed,budgets,bundled")
    parser.add_argument("--litellm", default=os.environ.get("LITELLM"), help="its command")
    parser.add_argument("--fresh", help="python with its packages alone")
    parser.add_argument("--portkey", default=os.environ.get("PORTKEY"), help="its folder")
    args = parser.parse_args()
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, load before: {load}", flush=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream, *ports = free_ports(8)
        direct = stack.enter_context(running(provider(upstream), LOAD_CORE, folder))
        wanted = [which for which in args.only.split(",") if which]
        started = [
            minimal(port, upstream) if which == "minimal" else ours(which, port, upstream, folder)
            for which, port in zip(wanted, ports, strict=False)
        ]
        if args.litellm:
            started.append(litellm(args.litellm, ports[-1], upstream, folder))
        if args.fresh:
            started.append(minimal(ports[-3], upstream, args.fresh))
        if args.portkey:
            started.append(portkey(args.portkey, ports[-2], upstream))
        subjects = [direct]
        subjects += [stack.enter_context(running(one, SERVER_CORE, folder)) for one in started]
        results = rounds(subjects, args)
        for load in plans(args):
            print("\n".join(table(results, load, [subject.name for subject in subjects])))


if __name__ == "__main__":
    main()
