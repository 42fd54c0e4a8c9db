"""`p2l-router simulate --local N`: the curves with a local layer that has learnt from N answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2l_model.errors import DataError
from server.commands.outputs import print_table
from server.commands.progress import progress_bars

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
    from server.offline.simulate.local_curves import Splits
    from server.offline.simulate.local_study import run_local_study

    for flag in ("train_scores", "objective", "against", "details"):
        if getattr(args, flag):
            raise DataError(f"--{flag.replace('_', '-')} does not count with --local: leave it out")
    if not 0 <= args.coverage < 1:
        raise DataError("--coverage must be from 0 to below 1, such as 0.95")
    splits = Splits(args.local, args.folds, args.seeds)
    reader = PromptReader.load(args.checkpoint, args.engine)
    try:
        with progress_bars() as bars:
            found = run_local_study(
                reader, table.complete(args.coverage), bundled_placer(), splits,
                seed=args.seed, n_resamples=args.resamples, on_progress=bars,
            )  # fmt: skip
    finally:
        reader.engine.close()
    pareto = found.study.pareto() | {"local": found.local()}
    if args.out is not None:
        _write(found, pareto, Path(args.out))
    if args.json:
        print(json.dumps(pareto, ensure_ascii=False))
    else:
        _print(found)
    return 0


def _write(found: LocalStudy, pareto: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    report = found.study.report() | {"local": found.local()}
    (out / "pareto.json").write_text(json.dumps(pareto, ensure_ascii=False, indent=1))
    (out / "simulate.json").write_text(json.dumps(report, ensure_ascii=False, indent=1))


def _print(found: LocalStudy) -> None:
    study, splits = found.study, found.splits
    print(
        f"{len(study.table.conversations)} prompts, {len(study.table.models)} models; each of "
        f"{splits.n_folds} folds is decided by {splits.n_answers} answers of the others, "
        f"{splits.n_seeds} times; expected costs from {study.cost_source}"
    )
    for note in study.table.notes:
        print(f"- {note}")
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
