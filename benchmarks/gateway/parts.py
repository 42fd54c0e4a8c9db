"""What share of the samples each part of a request's path has.

python benchmarks/gateway/flame.py raw.txt --format raw
python benchmarks/gateway/parts.py raw.txt [--us 500]

A sample belongs to the first part below that has one of its frames. --us: CPU microseconds of a
request, to be divided by the shares.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

# What is inside another part comes before it.
PARTS = {
    "writer: batches into SQLite": ("Thread._bootstrap",),
    "spool: records on disk before the request goes on": ("Spool.", "Store._write_held"),
    "metrics": ("server/telemetry/metrics.py",),
    "receipt of the decision": ("Receipts.",),
    "decision: eligibility, win rates, Theorem 1": ("Gateway.route", "Gateway._decide"),
    "ledger and windows: reserve, settle, bill": ("server/ledger/", "server/accounts/"),
    "health, retries": ("server/health/",),
    "provider: HTTP over the kept connection": (
        *("server/upstream/", "http1.py", "network.py", "SharedRequest"),
    ),
    "plan: what is asked, its shape and cost": ("Planner.", "server/gateway/learned_costs.py"),
    "caller: key, body, fields, options": (
        *("read_body", "parse_body", "inference.py", "chat_request.py", "parse_options"),
        *("Authenticator", "Gateway.admit", "_parse"),
    ),
    "answer: body, headers": ("whole_answer", "response_headers", "json_response", "cost_header"),
    "uvicorn: parsing, writing": ("httptools_impl.py", "server/serving/", "responses.py"),
}
# These call all the others: a sample is theirs only where nothing else in it is known.
_AROUND = ("run_asgi", "RequestResponseCycle.run")


def part_of(frames: list[str]) -> str:
    """The name of the first part that knows a frame."""
    inner = [frame for frame in frames if not any(name in frame for name in _AROUND)]
    for part, marks in PARTS.items():
        if any(mark in frame for frame in inner for mark in marks):
            return part
    return "between: event loop, tasks, layers"


def main() -> None:
    """Prints a table, the largest first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("raw")
    parser.add_argument("--us", type=float, default=0.0)
    args = parser.parse_args()
    shares: Counter[str] = Counter()
    for line in Path(args.raw).read_text().splitlines():
        stack, _, n = line.rpartition(" ")
        if stack:
            shares[part_of(stack.split(";"))] += int(n)
    total = shares.total()
    print("| part | share | µs |\n|---|---|---|")
    for part, n in shares.most_common():
        print(f"| {part} | {n / total:.1%} | {args.us * n / total:.0f} |")


if __name__ == "__main__":
    main()
