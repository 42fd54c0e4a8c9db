"""`p2l-router reconcile`: compares the ledger with a provider's usage export."""

from __future__ import annotations

import argparse
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from p2l_model.errors import DataError
from server.build import database_of, settings_from
from server.catalogue.cards import build_catalogue
from server.commands.flags import add_config
from server.commands.outputs import left, table_lines
from server.endpoints.decision_json import plain
from server.offline.reconcile import Difference, Reconciliation
from server.offline.usage_export import read_export
from server.storage.migrate import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)
    parser.add_argument("--usage", required=True, metavar="FILE",
                        help="The provider's usage export, as CSV or JSONL.")  # fmt: skip
    parser.add_argument("--provider", required=True, metavar="NAME",
                        help="The provider's name in the configuration.")  # fmt: skip
    parser.add_argument("--tolerance-usd", type=Decimal, default=Decimal("0.01"), metavar="USD",
                        help="Differences of up to this amount count as none (default: "
                             "0.01).")  # fmt: skip
    parser.add_argument("--apply", action="store_true",
                        help="Correct the ledger by the differences.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns 1 where they differ by more than the tolerance and nothing is
    corrected.

    Raises ConfigError, DataError, StorageError.
    """
    settings = settings_from(args.config)
    if args.provider not in settings.providers:
        raise DataError(f"--provider: there is no provider {args.provider!r} in the configuration")
    tolerance: Decimal = args.tolerance_usd
    rows = read_export(Path(args.usage))
    database = database_of(settings.storage)
    try:
        migrate(database)
        work = Reconciliation(database, args.provider, build_catalogue(settings))
        found = work.differences(rows)
        if args.apply:
            work.apply(found)
    finally:
        database.close()
    total = sum((d.usd for d in found), Decimal(0))
    agree = all(abs(d.usd) <= tolerance for d in found) and abs(total) <= tolerance
    if args.json:
        print(json.dumps(_report(found, total, agree=agree, applied=args.apply)))
    else:
        print(_table(found, total))
    return 0 if agree or args.apply else 1


def _report(
    found: list[Difference], total: Decimal, *, agree: bool, applied: bool
) -> dict[str, Any]:
    data = [
        {
            "day": d.day,
            "model": d.model,
            "upstream_id": d.upstream_id,
            "ledger_requests": d.ledger_requests,
            "provider_requests": d.provider_requests,
            "ledger_usd": plain(d.ledger_usd),
            "provider_usd": plain(d.provider_usd),
            "difference_usd": plain(d.usd),
        }
        for d in found
    ]
    return {"agree": agree, "applied": applied, "difference_usd": plain(total), "data": data}


def _table(found: list[Difference], total: Decimal) -> str:
    cells = [
        (
            *(d.day, d.model, f"{d.ledger_usd:.6f}", f"{d.provider_usd:.6f}"),
            f"{d.usd:+.6f}",
        )
        for d in found
    ]
    cells.append(("total", "", "", "", f"{total:+.6f}"))
    columns = (left("day"), left("model"), "ledger USD", "provider USD", "difference")
    return "\n".join(table_lines(columns, cells))
