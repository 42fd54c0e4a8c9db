"""What a request costs in SQLite and in PostgreSQL: of the gateway's CPU, the database's and disk.

    PYTHONPATH=tests/support python benchmarks/bench_storage.py [--rounds 4] [--clients 32]

Both gateways have a key, a window and a budget on each request; rounds are interleaved. What a
request leaves: a reservation, its settlement and the receipt. Debian's PostgreSQL as it comes, but
for fsync, which is off: CPU is measured, not a disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from services import PostgresServer, postgres_server

sys.path.insert(0, str(Path(__file__).parent / "gateway"))

from servers import LOAD_CORE, SERVER_CORE, Subject, free_ports, measure, ours, provider, running


def postmaster(server: PostgresServer) -> Subject:
    """Known by its processes alone."""
    found = Subject("PostgreSQL", server.port, [])
    found.pid = int((server.data / "postmaster.pid").read_text().split()[0])
    return found


def rounds(subjects: dict[str, Subject], database: Subject, args: argparse.Namespace) -> None:
    """A line for each."""
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in subjects}
    for _ in range(args.rounds):
        for name, subject in subjects.items():
            before = database.cpu_s()
            cell = measure(subject, {"clients": args.clients, "seconds": args.seconds})
            cell["database_us"] = 1e6 * (database.cpu_s() - before) / cell["requests"]
            cells[name].append(cell)
    print("| storage | requests/s | gateway's CPU, µs | database's CPU, µs | wrong |")
    print("|---|---|---|---|---|")
    for name, found in cells.items():
        per_s, ours_us, theirs = (
            median(cell[key] for cell in found) for key in ("per_s", "cpu_us", "database_us")
        )
        wrong = sum(cell["bad"] for cell in found)
        print(f"| {name} | {per_s:,.0f} | {ours_us:,.0f} | {theirs:,.0f} | {wrong} |", flush=True)


def main() -> None:
    """Starts everything, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream, *ports = free_ports(3)
        stack.enter_context(running(provider(upstream), LOAD_CORE, folder))
        server = stack.enter_context(postgres_server())
        url = server.database()

        def started(port: int, storage: str | None) -> Subject:
            one = ours("budgets", port, upstream, folder, storage=storage)
            return stack.enter_context(running(one, SERVER_CORE, folder))

        subjects = {"SQLite": started(ports[0], None), "PostgreSQL": started(ports[1], url)}
        rounds(subjects, postmaster(server), args)
        with psycopg.connect(url) as connection:
            size, rows = connection.execute(
                "select pg_database_size(current_database()), (select count(*) from attempts)"
            ).fetchone() or (0, 1)
        print(f"\nPostgreSQL: {size / rows:,.0f} bytes a request, {rows} requests")


if __name__ == "__main__":
    main()
