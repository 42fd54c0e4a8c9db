"""The real agents through the gateway, against strict providers that play a small job.

    python tests/agents/run_agents.py [--clients opencode,pi] [--scenarios plain,rotate]

Needs no key and no provider; `install_agents.py` installs the agents. Ends with 0 where every row
holds: the job is done, no refusal of a provider reached the client, and the ledger has what was
served.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
from agent_clients import CLIENTS  # noqa: E402
from agent_rows import RECORDED, SCENARIOS, Row, run_row, told  # noqa: E402
from serve_process import COMMAND  # noqa: E402


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--record", metavar="FILE", help="writes the table there, as Markdown")
    parser.add_argument("--keep", action="store_true", help="keeps what was said, and prints where")
    parser.add_argument("--export", metavar="FOLDER",
                        help="records a longer job of each client there, without its texts; "
                             "no other scenario is run")  # fmt: skip
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="p2l-agents-"))
    rows = []
    for name in args.clients.split(","):
        client = CLIENTS[name]
        if client.missing is not None:
            print(f"skipped: {client.missing}", flush=True)
            continue
        for scenario in [RECORDED] if args.export else args.scenarios.split(","):
            place = folder / f"{name}-{scenario}"
            place.mkdir()
            if scenario == "alias" and client.alias is None:
                continue
            row = run_row(client, scenario, place)
            rows.append(row)
            print(line(row), flush=True)
            if args.export is not None:
                export(place, Path(args.export) / f"{name}.jsonl")
            if not row.holds:
                print(f"    {told(place)!r}"[:1_000], flush=True)
    if args.record is not None:
        Path(args.record).write_text(record(rows))
    if args.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    held = sum(row.holds for row in rows)
    print(f"{held} of {len(rows)} rows hold")
    return 0 if held == len(rows) else 1


def export(place: Path, out: Path) -> None:
    """Writes the recorded job of a row, from its ledger, without texts."""
    out.parent.mkdir(parents=True, exist_ok=True)
    command = ["sessions", "export", "--config", str(place / "config.yaml"), "--out", str(out)]
    subprocess.run([COMMAND, *command], check=True)


def line(row: Row) -> str:
    """One row of the table, with what is wrong below it."""
    state = "holds" if row.holds else "FALLS SHORT"
    text = (
        f"{row.client:12} {row.scenario:8} {state:12} {row.seconds:5.1f} s  "
        f"{row.n_requests} requests, {row.changes} changes, {row.n_tokens} tokens"
    )
    notes = [*row.problems]
    notes += [f"{n} x to the client: {said[:200]}" for said, n in row.errors.items()]
    notes += [f"{n} x refused by {said[:300]}" for said, n in row.refused.items()]
    return "\n    ".join([text, *notes])


def record(rows: list[Row]) -> str:
    """The page of the table."""
    names = list(dict.fromkeys(row.client for row in rows))
    cells = {(row.client, row.scenario): row for row in rows}
    told = [f"- `{name}`: {scenario.says}." for name, scenario in SCENARIOS.items()]
    head = ["client", "version", *SCENARIOS, "largest request", "tokens of `plain`"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in names:
        plain = cells.get((name, "plain"))
        sizes = ["", ""]
        if plain is not None:
            sizes = [f"{plain.n_bytes / 1_000:.0f} kB", f"{plain.n_tokens:,}"]
        did = [_cell(cells.get((name, scenario))) for scenario in SCENARIOS]
        lines.append("| " + " | ".join([name, CLIENTS[name].version, *did, *sizes]) + " |")
    return _PAGE.format(table="\n".join(lines), scenarios="\n".join(told))


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return "yes" if row.holds else row.problems[0].replace("|", "/")[:120]


_PAGE = """\
# Coding agents

Written by `make test-agents`: the real programs do a small job through a real gateway, against
strict providers that play it by script and refuse what the real ones refuse. They read two files,
edit one, run its test and end. *Yes*: the job was done, no refusal of a provider reached the
client, and the ledger has every request and token that the providers served. –: it has no
model of its own.

{table}

{scenarios}

What to set: [Claude Code](claude-code.md), [Codex](codex.md), [opencode](opencode.md),
[qwen-code](qwen-code.md), [Continue](continue.md), [pi](pi.md), [cline](cline.md).
"""


if __name__ == "__main__":
    sys.exit(main())
