"""`p2l-router evaluate`: compares a checkpoint with one leaderboard for all prompts, with one for
each category, and with another checkpoint."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.datasets import data_files, score_range
from server.commands.evaluate_local import N_SEEDS, run_local
from server.commands.evaluate_table import table
from server.commands.flags import (
    add_checkpoint,
    add_engine,
    add_score_range,
    add_seed,
    positive_number,
    whole_number,
)
from server.commands.progress import progress_bars

if TYPE_CHECKING:
    from p2l_model.checkpoint.folder import Checkpoint
    from p2l_model.data.files import VoteTable
    from p2l_model.engine.features import Scored
    from p2l_model.evaluation.category_baseline import CategoryLeaderboards


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_checkpoint(parser)
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH",
                        help="Files of votes or graded answers, or folders with "
                             "*.validation.parquet.")  # fmt: skip
    parser.add_argument("--train-data", nargs="+", metavar="PATH",
                        help="Training files, or folders with *.train.parquet. With them, also "
                             "compare with one leaderboard per category, fitted on "
                             "them.")  # fmt: skip
    parser.add_argument("--compare", metavar="CHECKPOINT",
                        help="Also compare with another checkpoint, on the votes that both can "
                             "predict.")  # fmt: skip
    parser.add_argument("--out", metavar="DIR",
                        help="Write evaluation.json and reliability.png to this "
                             "folder.")  # fmt: skip
    parser.add_argument("--local", type=whole_number, metavar="N",
                        help="Evaluate a local layer that learns from N graded answers of --data, "
                             "on top of public facts and the checkpoint, against the models' "
                             "means. Example: --data scores.parquet --local 50.")  # fmt: skip
    parser.add_argument("--seeds", type=positive_number, default=N_SEEDS, metavar="K",
                        help="With --local: how often the prompts are split (default "
                             "%(default)s).")  # fmt: skip
    add_engine(parser)
    add_seed(parser)
    add_score_range(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    if args.local is not None:
        return run_local(args)
    try:
        import p2l_model.evaluation.report  # noqa: F401
    except ModuleNotFoundError as error:
        from p2l_model.errors import ExtraMissingError

        raise ExtraMissingError(error.name or "torch", "train") from error
    report = _report(args)
    if args.out is not None:
        _write(report, Path(args.out), args.checkpoint)
    print(json.dumps(report) if args.json else table(report))
    return 0


def _report(args: argparse.Namespace) -> dict[str, Any]:
    """The report. What can fail at once (files, names, flags) is checked before the work that takes
    minutes."""
    from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
    from p2l_model.evaluation.compare import common_votes, compare_checkpoints
    from p2l_model.evaluation.report import known_votes, report

    if args.out is not None:
        _prepare(Path(args.out))
    votes = _votes(args, args.data, "validation")
    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    known = known_votes(checkpoint, votes)
    if args.compare is not None:
        other = load_checkpoint(resolve_checkpoint(args.compare))
        common = common_votes(checkpoint, other, votes)
    categories = _categories(args, checkpoint)
    scored = _score(args, checkpoint, known, "scoring prompts")
    result = report(scored, votes, args.seed, categories)
    if args.compare is not None:
        second = _score(args, other, common, f"scoring prompts, {args.compare}")
        found = compare_checkpoints(scored, second, votes, args.seed)
        result["comparison"] = {"checkpoint": args.compare} | found
    return result


def _votes(args: argparse.Namespace, paths: list[str], split: str) -> VoteTable:
    from p2l_model.data.files import load_votes

    files = data_files(paths, split)
    return load_votes(files, seed=args.seed, score_range=score_range(args.score_range))


def _categories(args: argparse.Namespace, checkpoint: Checkpoint) -> CategoryLeaderboards | None:
    from p2l_model.evaluation.category_baseline import fit_categories

    if args.train_data is None:
        return None
    return fit_categories(checkpoint.manifest, _votes(args, args.train_data, "train"))


def _score(
    args: argparse.Namespace, checkpoint: Checkpoint, votes: VoteTable, stage: str
) -> Scored:
    from p2l_model.engine.features import score
    from p2l_model.engine.load import load_engine

    engine = load_engine(checkpoint, args.engine)
    try:
        with progress_bars() as bars:
            return score(checkpoint, engine, votes, partial(bars, stage))
    finally:
        engine.close()


def _prepare(out: Path) -> None:
    """Prepares the output folder. Raises DataError, ExtraMissingError."""
    from p2l_model.errors import DataError
    from p2l_model.evaluation.calibration import require_matplotlib

    require_matplotlib()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {out} cannot be made a folder: {error}") from error


def _write(report: dict[str, Any], out: Path, name: str) -> None:
    """Writes the report. Raises DataError."""
    from p2l_model.errors import DataError
    from p2l_model.evaluation.calibration import draw_reliability

    try:
        (out / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        draw_reliability(report["calibration"], out / "reliability.png", _title(report, name))
    except OSError as error:
        raise DataError(f"--out {out} cannot be written: {error}") from error


def _title(report: dict[str, Any], name: str) -> str:
    ece = "-" if report["ece"] is None else f"{report['ece']:.3f}"
    return f"{Path(name).name}: {report['n_prompts']} prompts, ECE {ece}"
