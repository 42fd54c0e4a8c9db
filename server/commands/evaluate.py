"""`p2l-router evaluate`: how much better than one leaderboard for all prompts?"""

from __future__ import annotations

import argparse
import json
from typing import Any

from server.commands.datasets import data_files, score_range
from server.commands.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH",
                        help="files, or folders with *.validation.parquet")  # fmt: skip
    parser.add_argument("--engine", default="auto", choices=["auto", "onnx", "torch"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score-range", metavar="LO,HI", help="of score files (default: 0,1)")


def run(args: argparse.Namespace) -> int:
    """Raises P2LError."""
    from p2l_model.checkpoint import load_checkpoint, resolve_checkpoint
    from p2l_model.data import load_votes
    from p2l_model.engine.load import load_engine
    from p2l_model.evaluate import evaluate

    files = data_files(args.data, "validation")
    votes = load_votes(files, seed=args.seed, score_range=score_range(args.score_range))
    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    engine = load_engine(checkpoint, args.engine)
    with progress_bars() as bars:
        report = evaluate(
            checkpoint,
            engine,
            votes,
            lambda done, total: bars("scoring prompts", done, total),
            args.seed,
        )
    print(json.dumps(report) if args.json else _table(report))
    return 0


def _table(report: dict[str, Any]) -> str:
    lines = [f"{report['n']} votes, {report['n_skipped']} skipped (models not known)", _HEAD]
    lines.append(_row("all", report))
    lines += [_row(name, part) for name, part in report["by_source"].items()]
    return "\n".join(lines)


_HEAD = f"{'':18}{'prompts':>8}{'log-loss':>10}{'marginal':>10}  difference [95% interval]"


def _row(name: str, part: dict[str, Any]) -> str:
    low, high = part["delta_ci95"]
    return (
        f"{name:18}{part['n_prompts']:>8}{part['log_loss']:>10.4f}"
        f"{part['baseline']['log_loss']:>10.4f}  {part['delta_log_loss']:+.4f} "
        f"[{low:+.4f}, {high:+.4f}]"
    )
