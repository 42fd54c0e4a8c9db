"""`p2l-router spend`: reports what was spent."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from decimal import Decimal
from typing import Any

from server.build import database_of, settings_from
from server.commands.flags import add_config
from server.commands.outputs import left, table_lines
from server.endpoints.decision_json import plain
from server.storage.migrate import migrate
from server.storage.spend import (
    GROUPS,
    TAGS_OVERLAP,
    Spend,
    adjusted_usd,
    spend,
    spent_usd,
)

_DAY_S = 86_400
_COLUMNS = tuple(Spend.__dataclass_fields__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)
    parser.add_argument("--by", choices=GROUPS, default="key",
                        help="What to group the spend by (default: key).")  # fmt: skip
    parser.add_argument("--csv", action="store_true",
                        help="Print CSV for a spreadsheet.")  # fmt: skip
    parser.add_argument("--days", type=float, metavar="N",
                        help="Only the last N days (default: all).")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError, StorageError."""
    database = database_of(settings_from(args.config).storage)
    until = time.time() + 1
    since = 0.0 if args.days is None else until - args.days * _DAY_S
    try:
        migrate(database)
        rows = spend(database, args.by, since, until)
        adjusted = adjusted_usd(database, since, until)
        total = spent_usd(database, since, until) + adjusted
    finally:
        database.close()
    note = {"note": TAGS_OVERLAP} if args.by == "tag" else {}
    if args.json:
        data = [_json(row) for row in rows]
        shown = {"total_usd": plain(total), "adjustments_usd": plain(adjusted)}
        print(json.dumps({"by": args.by, **shown, **note, "data": data}))
    elif args.csv:
        writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_json(row) for row in rows)
    else:
        print(_table(rows, args.by, adjusted, total))
    return 0


def _json(row: Spend) -> dict[str, Any]:
    return {
        "group": row.group,
        "attempts": row.attempts,
        "cost_usd": plain(row.cost_usd),
        "estimated_usd": plain(row.estimated_usd),
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
    }


def _table(rows: list[Spend], by: str, adjusted: Decimal, total: Decimal) -> str:
    cells = [
        (
            *(row.group, str(row.attempts), str(row.prompt_tokens + row.completion_tokens)),
            *(f"{row.cost_usd:.6f}", f"{row.estimated_usd:.6f}"),
        )
        for row in rows
    ]
    if adjusted:
        cells.append(("reconciled", "", "", f"{adjusted:.6f}", ""))
    cells.append(("total", "", "", f"{total:.6f}", ""))
    lines = table_lines((left(by), "attempts", "tokens", "USD", "estimated"), cells)
    return "\n".join([*lines, TAGS_OVERLAP] if by == "tag" else lines)
