"""`p2l-router evaluate --local N`: how well a few local answers, on top of public facts and the
checkpoint, foresee graded answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.datasets import score_range
from server.commands.progress import progress_bars

if TYPE_CHECKING:
    from p2l_model.evaluation.local import GradedRows
    from p2l_model.local.terms import PromptTerms

N_SEEDS = 10


def run_local(args: argparse.Namespace) -> int:
    """Runs the evaluation; returns the exit status. Raises P2LError."""
    from p2l_model.evaluation.local import evaluate_local
    from p2l_model.placement.place import bundled_placer

    rows = _rows(args)
    with progress_bars() as bars:
        terms = _terms(args, rows, partial(bars, "scoring prompts"))
        report = evaluate_local(
            rows, terms, bundled_placer(), args.local, args.seeds, partial(bars, "splits")
        )
    print(json.dumps(report) if args.json else table(report))
    return 0


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    low, high = report["delta_ci95"]
    same_low, same_high = report["delta_same_n_ci95"]
    order, facts = report["order_spearman"], report["order_spearman_facts"]
    return "\n".join(
        [
            f"{report['n_rows']} graded answers of {report['n_models']} models to {report['n']} "
            f"prompts; the local layer learns from {report['n_answers']}, {report['n_seeds']} "
            "splits of the prompts",
            f"cross-entropy            {report['cross_entropy']:.4f}",
            f"  each model's full mean {report['model_means']:.4f}   difference "
            f"{report['delta']:+.4f} [{low:+.4f}, {high:+.4f}]",
            f"  means of the same N    {report['means_same_n']:.4f}   difference "
            f"{report['delta_same_n']:+.4f} [{same_low:+.4f}, {same_high:+.4f}]",
            f"order of the models before any answer (Spearman): {_number(order)} of "
            f"{report['n_models_order']} models, {_number(facts)} of the "
            f"{report['n_models_facts']} with a published result",
        ]
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _rows(args: argparse.Namespace) -> GradedRows:
    """The graded answers of --data. Raises DataError."""
    from p2l_model.data.model_names import canonical
    from p2l_model.data.tables import read_columns
    from p2l_model.errors import DataError
    from p2l_model.evaluation.local import graded_rows, merged

    if len(args.data) != 1:
        raise DataError("--local takes one file of graded answers in --data")
    path = Path(args.data[0])
    if path.is_dir():
        path = path / "scores.validation.parquet"
    if not path.exists():
        raise DataError(f"{path}: there is no such file of graded answers")
    rows = graded_rows(read_columns(path), path, score_range(args.score_range))
    return merged(rows, {name: canonical(name) for name in rows.models})


def _terms(args: argparse.Namespace, rows: GradedRows, progress: Any) -> Sequence[PromptTerms]:
    """What the checkpoint says of each prompt."""
    from p2l_model.analysis.prompt_terms import read_terms
    from p2l_model.analysis.scored import PromptReader

    reader = PromptReader.load(args.checkpoint, args.engine)
    n = len(rows.conversations)
    try:
        return read_terms(
            reader, rows.conversations, rows.models, lambda done: progress(done, n)
        ).terms
    finally:
        reader.engine.close()
