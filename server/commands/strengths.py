"""`p2l-router strengths`: finds where each model is stronger or weaker than it is overall."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.flags import add_resamples
from server.commands.outputs import Column, check_writable, print_table, write_csv
from server.commands.progress import progress_bars
from server.commands.prompt_source import (
    add_prompts_arguments,
    chunks_of,
    load_reader,
    n_rows_of,
)

if TYPE_CHECKING:
    from p2l_model.analysis.scored import PromptReader
    from p2l_model.analysis.strengths import Strengths
    from p2l_model.analysis.study import StrengthsStudy

_CSV = ("category", "model", "coefficient", "deviation", "ci_low", "ci_high", "p_value", "q_value",
        "significant")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_prompts_arguments(parser)
    parser.add_argument("--by", metavar="COLUMN",
                        help="The column with the category of each prompt (default: categories "
                             "are found by clustering).")  # fmt: skip
    parser.add_argument("--clusters", type=int, metavar="N",
                        help="How many clusters to find (default: 8, or fewer for few "
                             "prompts).")  # fmt: skip
    parser.add_argument("--model", metavar="M", help="Show only this model in the table.")
    parser.add_argument("--out", metavar="FILE",
                        help="Write a report there, as one HTML file.")  # fmt: skip
    parser.add_argument("--csv", metavar="FILE",
                        help="Write all rows there, one for each model and "
                             "category.")  # fmt: skip
    parser.add_argument("--examples", type=int, default=3, metavar="N",
                        help="How many prompts of each category to show (default: 3).")  # fmt: skip
    add_resamples(parser, 300)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    _check(args)
    with progress_bars() as bars:
        study = _study(args, bars)
    if args.out is not None:
        from p2l_model.analysis.report import write_report

        title = f"Strengths and weaknesses: {Path(args.prompts).name}"
        write_report(study, Path(args.out), title=title, n_examples=args.examples)
    if args.csv is not None:
        write_csv(Path(args.csv), _CSV, _csv_rows(study.strengths))
    if args.json:
        print(json.dumps(study.to_json(args.examples), ensure_ascii=False))
    else:
        _print(study, args.model)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Checks the arguments. Raises DataError, ExtraMissingError."""
    from p2l_model.analysis.report import require_jinja
    from p2l_model.errors import DataError

    if args.by is not None and args.clusters is not None:
        raise DataError("give --by or --clusters, not both: categories are either given or found")
    if args.resamples < 50:
        raise DataError("--resamples must be at least 50, or the intervals mean little")
    if args.out is not None:
        require_jinja()
    check_writable([args.out, args.csv])


def _study(args: argparse.Namespace, bars: Any) -> StrengthsStudy:
    from p2l_model.analysis.study import (
        default_clusters,
        read_corpus,
        study_found,
        study_given,
    )

    total = n_rows_of(args)
    reader = load_reader(args)
    _check_model(args.model, reader)
    chunks = chunks_of(args)
    try:
        corpus = read_corpus(chunks, reader, lambda done: bars("prompts", done, max(done, total)))
    finally:
        reader.engine.close()
    bars("leaderboards", 0, 1)
    options: Any = {"seed": args.seed, "n_resamples": args.resamples}
    if args.by is not None:
        study = study_given(corpus, reader, **options)
    else:
        n_clusters = args.clusters or default_clusters(corpus)
        study = study_found(corpus, reader, n_clusters, **options)
    bars("leaderboards", 1, 1)
    return study


def _check_model(model: str | None, reader: PromptReader) -> None:
    from p2l_model.errors import DataError

    if model is not None and model not in reader.models:
        raise DataError(f"--model {model} is not on the checkpoint's leaderboard")


def _csv_rows(found: Strengths) -> Iterable[tuple[object, ...]]:
    for category in range(len(found.categories)):
        for model, name in enumerate(found.models):
            cell = found.cell(category, model)
            low, high = cell["ci95"] or ("", "")
            yield (cell["category"], name, cell["coefficient"], cell["deviation"], low, high,
                   cell["p_value"], cell["q_value"], cell["significant"])  # fmt: skip


def _print(study: StrengthsStudy, only: str | None) -> None:
    found = study.strengths.to_json()
    categories = [(row["name"], str(row["n_prompts"]), f"{row['level']:+.2f}")
                  for row in found["categories"]]  # fmt: skip
    columns: Sequence[Column] = (("category", "left"), "prompts", "level of the field")
    print_table("Categories", columns, categories, sys.stdout)
    if study.adjusted_rand is not None:
        mean = sum(study.adjusted_rand) / len(study.adjusted_rand)
        print(f"found by clustering; adjusted Rand index under reseeding {mean:.2f}")
    rows = [row for row in found["models"] if only in (None, row["model"])]
    cells = [_cells(row) for row in rows] if only is None else _cells_of(rows[0])
    columns = [("model", "left"), ("strongest", "left"), ("weakest", "left")]
    if only is not None:
        columns = [("category", "left"), "deviation", "95%", "q"]
    print_table("Deviations (* significant)", columns, cells, sys.stdout)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    best, worst = row["cells"][0], row["cells"][-1]
    return (row["model"], *(
        f"{cell['deviation']:+.2f}{'*' if cell['significant'] else ' '} {cell['category']}"
        for cell in (best, worst)
    ))  # fmt: skip


def _cells_of(row: dict[str, Any]) -> list[tuple[str, ...]]:
    cells: list[tuple[str, ...]] = []
    for cell in row["cells"]:
        known = cell["ci95"] is not None
        interval = "[{:+.2f}, {:+.2f}]".format(*cell["ci95"]) if known else "-"
        star = "*" if cell["significant"] else ""
        q_value = f"{cell['q_value']:.3g}" if known else "-"
        cells.append((cell["category"], f"{cell['deviation']:+.2f}{star}", interval, q_value))
    return cells
