"""`p2l-router simulate --sessions`: what recorded jobs would have cost under other rules."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2l_model.errors import DataError
from server.commands.outputs import print_table
from server.commands.progress import progress_bars

if TYPE_CHECKING:
    from server.offline.jobs.comparison import Comparison, Result, Terms


def add_session_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that only `--sessions` takes."""
    parser.add_argument("--config", help="The YAML file whose models and rules are simulated with "
                                         "--sessions (default: $P2L_CONFIG, or as serve without "
                                         "one).")  # fmt: skip
    parser.add_argument("--budgets", metavar="USD,USD", default="",
                        help="With --sessions: the mean budgets of a request to compare, "
                             "separated by commas.")  # fmt: skip
    parser.add_argument("--wins", metavar="USD,USD", default="",
                        help="With --sessions: the values of a certain win to compare, separated "
                             "by commas.")  # fmt: skip
    parser.add_argument("--session-budgets", metavar="USD,USD", default="",
                        help="With --sessions: the budgets of a whole session to compare, "
                             "separated by commas.")  # fmt: skip


def check_without_sessions(args: argparse.Namespace) -> None:
    """Checks the flags of a simulation of graded answers. Raises DataError."""
    for flag in ("budgets", "wins", "session-budgets", "config"):
        if getattr(args, flag.replace("-", "_")):
            raise DataError(f"--{flag} counts with --sessions only: leave it out")


def run_sessions(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError, ConfigError."""
    from server.build import settings_from
    from server.offline.jobs.comparison import compare
    from server.offline.jobs.line import read_jobs

    if args.local is not None:
        raise DataError("--local counts with --scores only: leave it out")
    all_terms = _terms(args)
    with progress_bars() as bars:
        lines = read_jobs(Path(args.sessions), partial(bars, "recorded jobs (bytes)"))
        found = asyncio.run(compare(lines, settings_from(args.config), all_terms, args.seed))
    if args.out is not None:
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "sessions.json").write_text(json.dumps(found.to_json(), indent=1))
    if args.json:
        print(json.dumps(found.to_json()))
    else:
        print_comparison(found)
    return 0


def _terms(args: argparse.Namespace) -> list[Terms]:
    from server.offline.jobs.comparison import Terms

    budgets = [Terms(budget_usd=usd) for usd in _amounts(args.budgets, "--budgets")]
    wins = [Terms(usd_per_win=usd) for usd in _amounts(args.wins, "--wins")]
    given = _amounts(args.session_budgets, "--session-budgets")
    sessions = [Terms(session_budget_usd=usd) for usd in given]
    return [*budgets, *wins, *sessions] or [Terms()]


def _amounts(given: str, flag: str) -> list[Decimal]:
    try:
        found = [Decimal(part.strip()) for part in given.split(",") if part.strip()]
    except InvalidOperation:
        found = [Decimal(-1)]
    if any(not usd.is_finite() or usd <= 0 for usd in found):
        raise DataError(f"{flag}: {given!r} must be amounts in USD above 0, such as 0.01,0.02")
    return found


def print_comparison(found: Comparison) -> None:
    """Prints the table."""
    rows = [_row(result, found.figures(result)) for result in found.results]
    print_table(
        f"{found.n_jobs} jobs of {found.n_requests} requests",
        (
            ("terms (USD)", "left"), ("rule", "left"), "USD a job", "dearest", "win rate",
            "net USD", "changes", "in a loop", "cache", "scored", "refused", "of budgets",
        ),
        rows,
        sys.stdout,
    )  # fmt: skip


def _row(result: Result, told: Mapping[str, Any]) -> Sequence[str]:
    rule = result.rule if result.model is None else f"{result.model} alone"
    return (
        result.terms.said,
        rule,
        f"{told['job_cost_usd']:.4f}",
        f"{told['dearest_job_usd']:.4f}",
        _number(told["win_rate"], ".4f"),
        _number(told["net_usd"], ".4f"),
        str(told["changes"]),
        str(told["tool_loop_changes"]),
        _number(told["prefix_read"], ".1%"),
        _number(told["scored"], ".1%"),
        str(told["refused"]),
        _number(told["spent_of_budgets"], ".1%"),
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
