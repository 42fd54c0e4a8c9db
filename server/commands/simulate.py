"""`p2l-router simulate`: computes what the router would have scored and cost on graded answers, or
what recorded jobs would have cost under other rules."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from server.commands.datasets import graded_answers, prices_of
from server.commands.flags import (
    add_checkpoint,
    add_engine,
    add_resamples,
    add_score_range,
    add_seed,
    positive_number,
)
from server.commands.outputs import print_table
from server.commands.progress import progress_bars
from server.commands.report import print_report
from server.commands.simulate_local import add_local_arguments, run_local
from server.commands.simulate_report import baseline_of, findings_of, write_files
from server.commands.simulate_sessions import (
    add_session_arguments,
    check_without_sessions,
    run_sessions,
)

if TYPE_CHECKING:
    from server.offline.simulate.study import Study
    from server.offline.simulate.table import ScoreTable, TokenPrices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_checkpoint(parser)
    add_engine(parser)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--sessions", metavar="FILE",
                      help="Recorded jobs from `p2l-router sessions export`: compare what they "
                           "would have cost under other rules.")  # fmt: skip
    data.add_argument("--scores", nargs="+", metavar="PATH",
                      help="Files of graded answers with the columns prompt, model, score and, "
                           "if known, cost_usd, output_tokens and category. The checkpoint must "
                           "not have been trained on them.")  # fmt: skip
    add_session_arguments(parser)
    parser.add_argument("--prices", metavar="F",
                        help="A CSV file with the columns model, input_usd_per_mtok and "
                             "output_usd_per_mtok. It is needed where the scores have no "
                             "cost_usd.")  # fmt: skip
    parser.add_argument("--train-scores", nargs="+", metavar="PATH",
                        help="The scores that the checkpoint was trained on. The leaderboards to "
                             "compare with are fitted on them, and so are expected costs where "
                             "a model lacks a price or a predicted length.")  # fmt: skip
    parser.add_argument("--objective", choices=["win_rate", "p_good", "expected_score"],
                        help="What the router maximises (default: the one that says most of "
                             "scores).")  # fmt: skip
    parser.add_argument("--models", metavar="NAMES",
                        help="Only these models, separated by commas.")  # fmt: skip
    parser.add_argument("--exclude", metavar="NAMES",
                        help="All models but these, separated by commas.")  # fmt: skip
    parser.add_argument("--against", metavar="MODEL",
                        help="Compare with always asking this model (default: the one with the "
                             "best score).")  # fmt: skip
    parser.add_argument("--details", action="store_true",
                        help="Also print the comparison with other ways to choose, and streams "
                             "under a budget.")  # fmt: skip
    add_local_arguments(parser)
    add_score_range(parser)
    add_seed(parser)
    add_resamples(parser, 1000)
    parser.add_argument("--orders", type=positive_number, default=20, metavar="N",
                        help="How many orders of the prompts to average over in the simulation "
                             "of a stream (default: 20).")  # fmt: skip
    parser.add_argument("--out", metavar="DIR",
                        help="Write report.html, pareto.json, pareto.png and simulate.json, or "
                             "sessions.json, to this folder.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    if args.sessions is not None:
        return run_sessions(args)
    check_without_sessions(args)
    if args.local is not None:
        return run_local(args, _table(args, prices_of(args)))
    study = _study(args)
    pareto, found = study.pareto(), findings_of(study, args, with_settings=True)
    if args.out is not None:
        write_files(Path(args.out), found, _notes(study), pareto=pareto, report=study.report())
    if args.json:
        print(json.dumps(pareto, ensure_ascii=False))
        return 0
    print_report(found)
    for note in _notes(study):
        print(f"- {note}")
    if args.details:
        _print_details(study)
    return 0


def _study(args: argparse.Namespace) -> Study:
    from p2l_model.analysis.scored import PromptReader
    from router.objective import Objective
    from server.offline.simulate.study import run_study

    prices = prices_of(args)
    table = _table(args, prices)
    train = None if args.train_scores is None else graded_answers(args.train_scores, prices, args)
    objective = None if args.objective is None else Objective(args.objective)
    reader = PromptReader.load(args.checkpoint, args.engine)
    try:
        with progress_bars() as bars:
            return run_study(
                reader, table, prices, train=train, objective=objective, seed=args.seed,
                n_resamples=args.resamples, n_seeds=args.orders,
                on_progress=bars,
            )  # fmt: skip
    finally:
        reader.engine.close()


def _table(args: argparse.Namespace, prices: Mapping[str, TokenPrices]) -> ScoreTable:
    """The graded answers. Raises DataError, also for a baseline that they lack: whoever mistyped it
    is not told after minutes."""
    from server.offline.report.findings import check_baseline

    table = _chosen(graded_answers(args.scores, prices, args), args)
    check_baseline(baseline_of(args), table.models)
    return table


def _chosen(table: ScoreTable, args: argparse.Namespace) -> ScoreTable:
    from p2l_model.data.model_names import canonical
    from p2l_model.errors import DataError

    asked, out = (
        None if names is None else {canonical(n.strip()) for n in names.split(",")}
        for names in (args.models, args.exclude)
    )
    unknown = ((asked or set()) | (out or set())) - set(table.models)
    if unknown:
        raise DataError(f"the scores have no model {', '.join(sorted(unknown))}")
    kept = [m for m in table.models if (asked is None or m in asked) and m not in (out or ())]
    return table.of_models(kept, "left out as asked")


def _notes(study: Study) -> list[str]:
    """How it was measured, sentence by sentence."""
    return [
        f"The router maximised {study.objective}; it expected costs from {study.cost_source}.",
        *(f"Not counted: {note}." for note in study.table.notes),
    ]


def _print_details(study: Study) -> None:
    print_table(
        "Ways to choose: score above the best random mix, cost saved at the best model's score",
        (("way", "left"), "score", "95%", "saved", "95%"),
        [
            (
                name,
                f"{area.value:+.4f}",
                f"[{area.low:+.4f}, {area.high:+.4f}]",
                f"{study.saving[name].value:.1%}",
                f"[{study.saving[name].low:.1%}, {study.saving[name].high:.1%}]",
            )
            for name, area in study.area.items()
        ],
        sys.stdout,
    )
    for name, results in study.streams.items():
        print_table(
            f"Stream of {name} under a window budget",
            ("USD a request", "spent", "least", "most", "score", "random mix",
             "best fixed setting"),
            [
                (
                    f"{r.budget_usd:.3g}", f"{r.utilisation:.2%}", f"{r.utilisation_min:.2%}",
                    f"{r.utilisation_max:.2%}", f"{r.score:.4f}", f"{r.random_mix:.4f}",
                    f"{r.clairvoyant:.4f}",
                )
                for r in results
            ],
            sys.stdout,
        )  # fmt: skip
