"""`p2l-router sessions export`: writes recorded jobs without texts, which `simulate --sessions`
reads."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2l_model.errors import DataError
from server.commands.actions import actions_of, add_action

if TYPE_CHECKING:
    from server.storage.database import Database

_DAY_S = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of each action."""
    export = add_action(
        actions_of(parser),
        "export",
        "Write the tokens, the costs and the leaderboards of all requests that belong to a "
        "session, without any text.",
        "sessions export --out jobs.jsonl --days 30",
    )
    export.add_argument("--out", required=True, metavar="FILE",
                        help="Write the requests there, as JSONL with one request on each "
                             "line.")  # fmt: skip
    export.add_argument("--days", type=float, metavar="N",
                        help="Only requests of the last N days (default: all that are "
                             "stored).")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError, DataError, StorageError."""
    from server.build import database_of, settings_from
    from server.commands.outputs import check_writable
    from server.storage.migrate import migrate

    check_writable([args.out])
    database = database_of(settings_from(args.config).storage)
    try:
        migrate(database)
        report = _write(database, Path(args.out), args.days)
    finally:
        database.close()
    if args.json:
        print(json.dumps(report))
    else:
        print(_text(report), file=sys.stderr)
    return 0


def _write(database: Database, out: Path, days: float | None) -> dict[str, Any]:
    from functools import partial

    from server.commands.progress import progress_bars
    from server.offline.jobs.export import Left, recorded_jobs
    from server.storage.rows import micros

    since_us = 0 if days is None else micros(time.time() - days * _DAY_S)
    left, n_requests, sessions = Left(), 0, set()
    try:
        with out.open("wb") as file, progress_bars() as bars:
            for one in recorded_jobs(database, since_us, left, partial(bars, "requests")):
                file.write(one.line() + b"\n")
                n_requests += 1
                sessions.add(one.session)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    return {
        "requests": n_requests,
        "sessions": len(sessions),
        "left_out_unanswered": left.unanswered,
        "left_out_unanswered_usd": str(left.unanswered_usd),
        "left_out_without_session": left.alone,
    }


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['requests']} requests of {report['sessions']} sessions"]
    if report["left_out_unanswered"] > 0:
        lines.append(
            f"left out: {report['left_out_unanswered']} requests without an answer or its tokens, "
            f"which cost {report['left_out_unanswered_usd']} USD"
        )
    if report["left_out_without_session"] > 0:
        lines.append(
            f"left out: {report['left_out_without_session']} requests that belong to no session "
            "(asked for a model by its name, or their receipts are no longer stored)"
        )
    return "\n".join(lines)
