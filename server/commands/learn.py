"""`p2l-router learn`: asks the configured models on one's own prompts, within a sum of money, and
grades the answers."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from server.commands.flags import add_config, add_seed, positive_number
from server.commands.learn_report import add_report_arguments, check_report, say_report
from server.commands.learn_review import N_PAIRS, run_review
from server.commands.outputs import print_table
from server.commands.progress import progress_bars
from server.commands.prompt_source import STORED

if TYPE_CHECKING:
    from server.offline.learn.plan import Estimate, RunPlan, Wishes
    from server.offline.learn.results import Results, Row
    from server.offline.learn.start import Ended, Learning
    from server.offline.learn.tasks import Tasks

OUT: Final = "p2l-learn"
_SAMPLE: Final = 200
_CAP: Final = 4_096
_AT_ONCE: Final = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("what", nargs="?", choices=["review"], metavar="review",
                        help="Compare yourself with the judge: shows pairs of answers of the run "
                             "in --out without names, and takes your votes.")  # fmt: skip
    parser.add_argument("--pairs", type=positive_number, default=N_PAIRS, metavar="N",
                        help=f"How many pairs review shows (default: {N_PAIRS}).")  # fmt: skip
    parser.add_argument("--prompts", metavar="F",
                        help="A .parquet, .jsonl or .csv file with a column prompt or messages, a "
                             ".txt file with one prompt per line, - for standard input, or the "
                             "word stored, for the prompts that the gateway kept. Columns "
                             "expected, regex, json_schema and reference say how answers are "
                             "graded.")  # fmt: skip
    parser.add_argument("--spend", type=_usd, metavar="USD",
                        help="What the run may cost at most, in USD, with its earlier "
                             "starts.")  # fmt: skip
    parser.add_argument("--models", metavar="NAMES",
                        help="The models to ask, separated by commas (default: all that the "
                             "configuration routes to).")  # fmt: skip
    parser.add_argument("--judge", metavar="MODEL",
                        help="The model that grades answers without a checker (default: the "
                             "strongest that half of the money can pay for). Models of its own "
                             "family are graded by another one.")  # fmt: skip
    parser.add_argument("--checker", choices=["expected", "regex", "json_schema", "command"],
                        help="Grade every answer by this column of the prompts. The column command "
                             "is used only with this flag: it names a program to run.")  # fmt: skip
    parser.add_argument("--out", default=OUT, metavar="DIR",
                        help="Where answers, grades and verdicts are written. A run that was "
                             f"stopped goes on there (default: {OUT}).")  # fmt: skip
    parser.add_argument("--apply", action="store_true",
                        help="Let the gateway learn from the grades. They are stored without any "
                             "text.")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true",
                        help="Only say what would be asked, and what it would cost.")  # fmt: skip
    parser.add_argument("--sample", type=positive_number, default=_SAMPLE, metavar="N",
                        help="At most N prompts, drawn at random (default: "
                             f"{_SAMPLE}).")  # fmt: skip
    parser.add_argument("--max-output-tokens", type=positive_number, default=_CAP, metavar="N",
                        help="The output limit of an answer; four times as much for models that "
                             f"think (default: {_CAP}). An answer that reaches it is not "
                             "graded.")  # fmt: skip
    parser.add_argument("--at-once", type=positive_number, default=_AT_ONCE, metavar="N",
                        help=f"How many calls at the same time (default: {_AT_ONCE}).")  # fmt: skip
    add_report_arguments(parser)
    add_seed(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError, DataError, P2LError."""
    from p2l_model.errors import DataError

    if args.what == "review":
        return run_review(args)
    if args.prompts is None:
        raise DataError("--prompts is missing: name the file with your prompts")
    if args.spend is None:
        raise DataError("--spend is missing: say how many USD the run may cost, for example 5")
    status = asyncio.run(_learn(args))
    if not args.dry_run:
        say_report(args)
    return status


async def _learn(args: argparse.Namespace) -> int:
    from server.app import create_app
    from server.auth.authenticator import Authenticator, MissingKeyError
    from server.build import build_scorer, build_store, build_upstreams, settings_from
    from server.catalogue.cards import build_catalogue
    from server.config.file import ConfigError
    from server.offline.learn.start import Learning, settings_for_learning

    own = settings_from(args.config)
    settings = settings_for_learning(own)
    tasks = _tasks(args)
    _check_checks(tasks)
    try:
        authenticator = Authenticator.from_settings(settings.auth, os.environ)
    except MissingKeyError as error:
        raise ConfigError(str(error)) from error
    catalogue = build_catalogue(settings)
    app = create_app(
        settings,
        build_scorer(settings.scorer),
        build_upstreams(settings, catalogue),
        catalogue,
        authenticator,
        build_store(settings.storage),
    )
    async with app.router.lifespan_context(app):
        learning = Learning(app.state.p2l, catalogue, tasks.tasks, own.routing.models, args.at_once)
        if args.dry_run:
            plan, estimate = await learning.dry(_wishes(args))
            check_report(args, plan, learning.cards)
            _say_plan(args, plan, estimate, tasks)
            return 0
        return await _run(args, learning, tasks)


async def _run(args: argparse.Namespace, learning: Learning, tasks: Tasks) -> int:
    from server.offline.learn import results
    from server.offline.learn.journal import Journal

    folder = Path(args.out)
    with Journal(folder) as journal, progress_bars() as bars:
        wishes = _wishes(args)
        plan, estimate = await learning.plan(wishes, journal)
        check_report(args, plan, learning.cards)
        if not args.json:
            _say_plan(args, plan, estimate, tasks)

        def progress(done: int, total: int, left_usd: Decimal) -> None:
            bars("prompts", done, total, f"{left_usd:.4f} USD left")

        ended = await learning.run(plan, estimate, wishes.spend_usd, journal, progress)
        found = results.results_of(plan, learning.tasks, journal)
        results.write(found, learning.tasks, learning.cards, folder)
        applied = await learning.apply(found) if args.apply else None
    _say(args, ended, found, applied)
    return 0


def _wishes(args: argparse.Namespace) -> Wishes:
    from server.offline.learn.plan import Wishes

    names = [] if args.models is None else [name.strip() for name in args.models.split(",")]
    return Wishes(
        spend_usd=args.spend,
        models=tuple(name for name in names if name),
        judge=args.judge,
        checker=args.checker,
        sample=args.sample,
        seed=args.seed,
        cap=args.max_output_tokens,
    )


def _tasks(args: argparse.Namespace) -> Tasks:
    from p2l_model.analysis.prompts import read_rows
    from server.offline.learn.tasks import read_tasks

    if args.prompts == STORED:
        with _stored_rows(args.config) as rows:
            return read_tasks(rows, "stored prompts", args.checker)
    with read_rows(args.prompts) as rows:
        name = "standard input" if args.prompts == "-" else args.prompts
        return read_tasks(rows, name, args.checker)


def _check_checks(tasks: Tasks) -> None:
    """Checks before any money is spent what answers will be checked by. Raises DataError,
    ExtraMissingError."""
    from server.offline.learn.checkers import check_schema
    from server.offline.learn.command_check import words_of

    for task in tasks.tasks:
        if task.check is not None and task.check.kind == "json_schema":
            check_schema(task.check.value)
        elif task.check is not None and task.check.kind == "command":
            words_of(task.check.value)


@contextmanager
def _stored_rows(config: str | None) -> Iterator[Any]:
    from server.build import settings_from
    from server.offline.stored_feedback import open_database, stored_prompts

    database = open_database(settings_from(config).storage)
    try:
        with stored_prompts(database) as rows:
            yield rows
    finally:
        database.close()


def _usd(text: str) -> Decimal:
    try:
        amount = Decimal(text) if text.isascii() else Decimal("nan")
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount <= 0:
        raise argparse.ArgumentTypeError(f"must be USD above 0, for example 5, got {text[:40]!r}")
    return amount


def _say_plan(args: argparse.Namespace, plan: RunPlan, estimate: Estimate, tasks: Tasks) -> None:
    if args.json:
        print(json.dumps(_plan_json(args, plan, estimate)))
        return
    out = sys.stdout if args.dry_run else sys.stderr
    print_table(
        f"Plan: {estimate.n_prompts} of {len(tasks.tasks)} prompts, seed {plan.seed}",
        [("model", "left"), ("what", "left"), "calls", "expected USD", "at most USD"],
        [
            [line.model, line.kind, str(line.n), f"{line.expected_usd:.4f}", f"{line.most_usd:.4f}"]
            for line in estimate.lines
        ],
        out,
    )
    for line in _remarks(args.spend, plan, estimate, tasks):
        print(line, file=out)


def _remarks(spend_usd: Decimal, plan: RunPlan, estimate: Estimate, tasks: Tasks) -> Iterator[str]:
    yield (
        f"together {estimate.expected_usd:.4f} USD expected, {estimate.most_usd:.4f} at most; "
        f"never more than {spend_usd} USD is spent"
    )
    if estimate.expected_usd > spend_usd:
        n = int(estimate.n_prompts * spend_usd / estimate.expected_usd)
        yield f"the money will be enough for about {n} prompts; the same ones for every model"
    if plan.left_out:
        yield (
            f"left out, since the money is not enough for 25 prompts with them: "
            f"{', '.join(plan.left_out)}; --models asks them anyway"
        )
    if plan.reference is not None:
        yield f"answers are compared with those of {plan.reference}, in both orders"
    if tasks.n_left_out:
        yield f"{tasks.n_left_out} rows within a tool loop are left out"
    for line in estimate.lines:
        if line.n_unable:
            yield f"{line.model} cannot take {line.n_unable} of the prompts"


def _plan_json(args: argparse.Namespace, plan: RunPlan, estimate: Estimate) -> dict[str, Any]:
    return {
        "run": plan.run,
        "seed": plan.seed,
        "n_prompts": estimate.n_prompts,
        "spend_usd": float(args.spend),
        "expected_usd": float(estimate.expected_usd),
        "most_usd": float(estimate.most_usd),
        "left_out": list(plan.left_out),
        "reference": plan.reference,
        "judges": dict(plan.judges),
        "judge_version": plan.judge_version,
        "lines": [
            {
                "model": line.model,
                "kind": line.kind,
                "n": line.n,
                "n_unable": line.n_unable,
                "expected_usd": float(line.expected_usd),
                "most_usd": float(line.most_usd),
            }
            for line in estimate.lines
        ],
    }


def _say(args: argparse.Namespace, ended: Ended, found: Results, applied: int | None) -> None:
    from server.offline.learn.summary import lines_of, summary_of

    summary = summary_of(ended, found, Path(args.out), applied)
    if args.json:
        print(json.dumps(summary))
        return
    print_table(
        "Grades: mean and 95% interval over prompts",
        [("model", "left"), "checked", "judged", "answers", "mean USD", "median s"],
        [_cells(row) for row in found.rows],
        sys.stdout,
    )
    for line in lines_of(ended, found, Path(args.out), applied):
        print(line)


def _cells(row: Row) -> list[str]:
    from server.offline.learn.results import CHECKED, JUDGED

    scores = [row.scores.get(kind) for kind in (CHECKED, JUDGED)]
    shown = [
        "-" if one is None else f"{one.score:.2f} [{one.ci95[0]:.2f}, {one.ci95[1]:.2f}]"
        for one in scores
    ]
    cost = "-" if row.mean_usd is None else f"{row.mean_usd:.6f}"
    latency = "-" if row.latency_s is None else f"{row.latency_s:.1f}"
    return [row.model, *shown, str(row.n_answers), cost, latency]
