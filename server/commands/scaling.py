"""`p2l-router scaling`: estimates whether more votes, or a larger model, would help."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from server.commands.datasets import data_files, score_range, validation_twins
from server.commands.flags import add_score_range
from server.commands.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH",
                        help="Files of votes or graded answers, or folders with "
                             "*.train.parquet.")  # fmt: skip
    parser.add_argument("--validation", nargs="+", metavar="PATH",
                        help="The files to measure the loss on (default: as in "
                             "train).")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="Write scaling.json and scaling.png to this folder.")  # fmt: skip
    parser.add_argument("--config", metavar="FILE",
                        help="A YAML file with the training options.")  # fmt: skip
    parser.add_argument("--sizes", type=int, default=5, metavar="N",
                        help="How many numbers of votes to train on, from a hundredth of them to "
                             "all (default: 5).")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N",
                        help="How often to train at each size (default: 3).")  # fmt: skip
    parser.add_argument("--hidden", type=int, nargs="+", default=[8, 32, 128], metavar="UNITS",
                        help="The sizes of the trunk (default: 8 32 128).")  # fmt: skip
    add_score_range(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    try:
        from p2l_model.training.scaling import scaling
    except ModuleNotFoundError as error:
        from p2l_model.errors import ExtraMissingError

        raise ExtraMissingError(error.name or "torch", "train") from error
    from p2l_model.fitting.config import load_train_config

    validation = args.validation and data_files(args.validation, "validation")
    with progress_bars() as bars:
        result = scaling(
            load_train_config(Path(args.config) if args.config else None, {}),
            data_files(args.data, "train"),
            validation or validation_twins(args.data),
            Path(args.out),
            bars,
            n_sizes=args.sizes,
            n_seeds=args.seeds,
            hidden=args.hidden,
            score_range=score_range(args.score_range),
        )
    print(json.dumps(result) if args.json else _table(result))
    return 0


def _table(result: dict[str, Any]) -> str:
    lines = []
    for name, size in (("votes", "n_votes"), ("parameters", "n_parameters")):
        law = result[name]["power_law"]
        low, high = law["exponent_ci95"]
        lines.append(f"{name}: {law['floor']:.4f} + {law['scale']:.4g} n^-{law['exponent']:.2f} "
                     f"[{low:.2f}, {high:.2f}]")  # fmt: skip
        for point in result[name]["points"]:
            losses = " ".join(f"{loss:.4f}" for loss in point["losses"])
            lines.append(f"{point[size]:>10}  {losses}")
    lines.append(f"marginal leaderboard on all votes: {result['marginal_log_loss']:.4f}")
    return "\n".join(lines)
