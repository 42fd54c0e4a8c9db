"""`p2l-router assess`: assesses a new model: its place, its prompts, and what it would save."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.commands.datasets import graded_answers, prices_of
from server.commands.flags import add_resamples, add_score_range
from server.commands.outputs import print_table
from server.commands.progress import progress_bars
from server.commands.prompt_source import (
    add_prompts_arguments,
    chunks_of,
    load_reader,
    n_rows_of,
)

if TYPE_CHECKING:
    from p2l_model.analysis.newcomer import Assessment
    from p2l_model.analysis.scored import PromptReader
    from server.offline.simulate.table import ScoreTable, TokenPrices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_prompts_arguments(parser)
    parser.add_argument("--model", required=True, metavar="M",
                        help="The model to assess. It must be on the checkpoint's leaderboard; "
                             "onboard adds it.")  # fmt: skip
    parser.add_argument("--by", metavar="COLUMN",
                        help="The column with the category of each prompt (default: categories "
                             "are found by clustering).")  # fmt: skip
    parser.add_argument("--clusters", type=int, metavar="N",
                        help="How many clusters to find (default: 8, or fewer for few "
                             "prompts).")  # fmt: skip
    parser.add_argument("--examples", type=int, default=2, metavar="N",
                        help="How many prompts of each category to show in the JSON "
                             "(default: 2).")  # fmt: skip
    add_resamples(parser, 300)
    parser.add_argument("--scores", nargs="+", metavar="PATH",
                        help="Graded answers of this model and of others to the same prompts. "
                             "With them, also say what the model would save.")  # fmt: skip
    parser.add_argument("--prices", metavar="F",
                        help="A CSV file of prices, which is needed where the scores have no "
                             "cost_usd (see simulate).")  # fmt: skip
    add_score_range(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    from p2l_model.errors import DataError

    if args.by is not None and args.clusters is not None:
        raise DataError("give --by or --clusters, not both: categories are either given or found")
    prices = {} if args.scores is None else prices_of(args)
    table = None if args.scores is None else graded_answers(args.scores, prices, args)
    reader = load_reader(args)
    try:
        with progress_bars() as bars:
            found = _assess(args, reader, bars)
            saving = None if table is None else _saving(args, reader, table, prices)
    finally:
        reader.engine.close()
    report = found.to_json(args.examples) | {"saving": saving}
    if args.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        _print(report)
    return 0


def _assess(args: argparse.Namespace, reader: PromptReader, bars: Any) -> Assessment:
    from p2l_model.analysis.newcomer import assess
    from p2l_model.analysis.study import (
        default_clusters,
        overall,
        read_corpus,
        study_found,
        study_given,
    )
    from p2l_model.errors import DataError

    if args.model not in reader.models:
        raise DataError(f"--model {args.model} is not on the checkpoint's leaderboard")
    total = n_rows_of(args)
    chunks = chunks_of(args)
    corpus = read_corpus(chunks, reader, lambda done: bars("prompts", done, max(done, total)))
    options: Any = {"seed": args.seed, "n_resamples": args.resamples}
    if args.by is not None:
        study = study_given(corpus, reader, **options)
    else:
        n_clusters = args.clusters or default_clusters(corpus)
        study = study_found(corpus, reader, n_clusters, **options)
    board = overall(corpus, reader, **options)
    return assess(args.model, board, corpus, study, reader, seed=args.seed)


def _saving(
    args: argparse.Namespace,
    reader: PromptReader,
    table: ScoreTable,
    prices: Mapping[str, TokenPrices],
) -> dict[str, Any]:
    from server.offline.simulate.newcomer import saving_of_model

    return saving_of_model(args.model, reader, table, prices, seed=args.seed)


def _print(report: dict[str, Any]) -> None:
    low, high = report["rank_range"] or (report["rank"],) * 2
    print(f"{report['model']}: rank {report['rank']} ({low}–{high}) of {report['n_models']} over "
          f"{report['n_prompts']} prompts, win rate {report['win_rate']:.1%}")  # fmt: skip
    for row in report["neighbours"]:
        print(f"  beats {row['model']} (rank {row['rank']}) {row['beats']:.1%} of the time")
    chosen = report["chosen"]
    print(f"best of all on {chosen['share']:.1%} [{chosen['ci95'][0]:.1%}, "
          f"{chosen['ci95'][1]:.1%}] of the prompts")  # fmt: skip
    taken = list(report["displaces"].items())[:3]
    if taken:
        print("  in place of " + ", ".join(f"{name} ({share:.0%})" for name, share in taken))
    print_table(
        "By category (* a significant strength or weakness)",
        [("category", "left"), "prompts", "best of all", "95%", "deviation"],
        [_cells(row) for row in report["categories"]],
        sys.stdout,
    )
    if report["saving"] is not None:
        _print_saving(report["saving"])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    star = "*" if row["significant"] else " "
    interval = f"[{row['ci95'][0]:.1%}, {row['ci95'][1]:.1%}]"
    return (row["category"], str(row["n_prompts"]), f"{row['share']:.1%}", interval,
            f"{row['deviation']:+.2f}{star}")  # fmt: skip


def _print_saving(saving: dict[str, Any]) -> None:
    print(f"cost saved at the score of {saving['at_score_of']}, on {saving['n_prompts']} prompts:")
    for name in ("saving_without", "saving_with", "difference"):
        low, high = saving[name]["ci95"]
        print(f"  {name.replace('_', ' ')}: {saving[name]['share']:.1%} [{low:.1%}, {high:.1%}]")
