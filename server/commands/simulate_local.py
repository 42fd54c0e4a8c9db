"""`p2l-router simulate --local N`: the curves with a local layer that has learnt from N answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from p2l_model.errors import DataError
from server.commands.outputs import print_table
from server.commands.progress import progress_bars
from server.commands.report import print_report
from server.commands.simulate_report import baseline_of, findings_of, write_files

if TYPE_CHECKING:
    from server.offline.simulate.curves import Interval
    from server.offline.simulate.local_study import LocalStudy
    from server.offline.simulate.table import ScoreTable

N_SEEDS = 10
N_FOLDS = 2
COVERAGE = 0.95
_TITLES = {
    "p2l": "local layer",
    "marginal": "means of the same answers",
    "per_category": "one leaderboard a category",
    "oracle": "oracle",
}


def add_local_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that only `--local` takes."""
    parser.add_argument("--local", type=int, metavar="N",
                        help="Draw the curves of a local layer that learns from N graded answers "
                             "of the other half of the prompts, and of model means that learn "
                             "from the same N.")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=N_SEEDS, metavar="K",
                        help=f"With --local: split the prompts anew K times (default: "
                             f"{N_SEEDS}).")  # fmt: skip
    parser.add_argument("--folds", type=int, default=N_FOLDS, metavar="K",
                        help="With --local: split the prompts into K parts; each is decided by "
                             f"what was learnt on the others (default: {N_FOLDS}).")  # fmt: skip
    parser.add_argument("--coverage", type=float, default=COVERAGE, metavar="SHARE",
                        help="With --local: leave out models without a score or a cost on this "
                             f"share of the prompts (default: {COVERAGE}).")  # fmt: skip


def run_local(args: argparse.Namespace, table: ScoreTable) -> int:
    """Runs the command; returns the exit status. table: the graded answers. Raises P2LError."""
    from p2l_model.analysis.scored import PromptReader
    from p2l_model.placement.place import bundled_placer
    from server.offline.report.findings import check_baseline
    from server.offline.simulate.local_curves import Splits
    from server.offline.simulate.local_study import run_local_study

    for flag in ("train_scores", "objective", "details"):
        if getattr(args, flag):
            raise DataError(f"--{flag.replace('_', '-')} does not count with --local: leave it out")
    if not 0 <= args.coverage < 1:
        raise DataError("--coverage must be from 0 to below 1, such as 0.95")
    splits = Splits(args.local, args.folds, args.seeds)
    table = table.complete(args.coverage)
    splits.check(len(table.conversations))
    check_baseline(baseline_of(args), table.models)
    reader = PromptReader.load(args.checkpoint, args.engine)
    try:
        with progress_bars() as bars:
            found = run_local_study(
                reader, table, bundled_placer(), splits,
                seed=args.seed, n_resamples=args.resamples, on_progress=bars,
            )  # fmt: skip
    finally:
        reader.engine.close()
    local = {"local": found.local()}
    # What a win is worth to the gateway is on the scale of its own values, which are not these.
    said = findings_of(found.study, args, with_settings=False)
    pareto = found.study.pareto() | local
    if args.out is not None:
        report = found.study.report() | local
        write_files(Path(args.out), said, _notes(found), pareto=pareto, report=report)
    if args.json:
        print(json.dumps(pareto, ensure_ascii=False))
        return 0
    print_report(said)
    for note in _notes(found):
        print(f"- {note}")
    _print_comparison(found)
    return 0


def _notes(found: LocalStudy) -> list[str]:
    """How it was measured, sentence by sentence."""
    study, splits = found.study, found.splits
    return [
        f"The {len(study.table.conversations)} prompts were split into {splits.n_folds} parts, "
        f"{splits.n_seeds} times anew; each part was decided by what {splits.n_answers} graded "
        "answers to the others had taught.",
        f"The router expected costs from {study.cost_source}.",
        *(f"Not counted: {note}." for note in study.table.notes),
    ]


def _print_comparison(found: LocalStudy) -> None:
    print_table(
        "Above the best random mix of single models, its cost saved at equal scores, and the best "
        "single model's at shares of its score",
        (("router", "left"), "area", "95%", "at equal scores", "at 100%", "at 99%", "at 97%"),
        [_row(_TITLES[name], one, "") for name, one in found.found.items()]
        + [_row("local layer less means", found.less_means, "+")],
        sys.stdout,
    )


def _row(title: str, found: Mapping[str, Interval], sign: str) -> tuple[str, ...]:
    from server.offline.simulate.local_study import AREA, EQUAL, LEVELS

    area = found[AREA]
    saved = [[f"{share:{sign}.0%}" for share in found[level]] for level in (EQUAL, *LEVELS)]
    return (
        title,
        f"{area.value:+.4f}",
        f"[{area.low:+.4f}, {area.high:+.4f}]",
        *(f"{value} [{low}, {high}]" for value, low, high in saved),
    )
