"""The report at the end of `p2l-router learn`: what routing would save on these prompts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.progress import progress_bars
from server.commands.report import print_report

if TYPE_CHECKING:
    from router.catalog import ModelCard
    from server.offline.learn.plan import RunPlan


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the report."""
    parser.add_argument("--against", metavar="MODEL",
                        help="In the report, compare with always asking this model, by its name in "
                             "grades.jsonl (default: the one with the best score).")  # fmt: skip


def check_report(args: argparse.Namespace, plan: RunPlan, cards: Mapping[str, ModelCard]) -> None:
    """Checks --against before any money is spent. cards: by name. Raises DataError."""
    from server.offline.report.findings import check_baseline

    check_baseline(args.against, [cards[name].leaderboard_name for name in plan.models])


def say_report(args: argparse.Namespace) -> None:
    """Writes report.html into --out, and prints it unless --json is given. Raises DataError."""
    from p2l_model.checkpoint.bundled_names import BUNDLED
    from server.build import settings_from
    from server.offline.learn.report import report_of

    scorer = settings_from(args.config).scorer
    is_here = not scorer.urls and scorer.fixed is None
    checkpoint = scorer.checkpoint_name if is_here else BUNDLED

    with progress_bars() as bars:
        report = report_of(Path(args.out), checkpoint, "auto", args.against, bars)
    if args.json:
        return
    print()
    if report.findings is not None:
        print_report(report.findings)
    for note in report.notes:
        print(f"- {note}")
