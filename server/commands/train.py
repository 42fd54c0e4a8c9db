"""`p2l-router train`: trains a checkpoint from votes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from server.commands.datasets import data_files, score_range, validation_twins
from server.commands.flags import add_score_range
from server.commands.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH",
                        help="Files of votes or graded answers, or folders with "
                             "*.train.parquet.")  # fmt: skip
    parser.add_argument("--validation", nargs="+", metavar="PATH",
                        help="The files by which the best heads are chosen (default: "
                             "*.validation.parquet in the folders of --data, or else a tenth of "
                             "the prompts).")  # fmt: skip
    parser.add_argument("--base", metavar="DIR",
                        help="The backbone: a Hugging Face folder, or one of the words minilm "
                             "(the default), smollm2 and static.")  # fmt: skip
    parser.add_argument("--family",
                        help="The family of the heads: bt, bt-tie, rk, rk-reparam, grk or ba "
                             "(default: grk).")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="The checkpoint folder to write.")  # fmt: skip
    parser.add_argument("--config", metavar="FILE",
                        help="A YAML file with the training options.")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N",
                        help="The seed of all random numbers (default: that of the "
                             "options).")  # fmt: skip
    add_score_range(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    try:
        from p2l_model.training.train import train
    except ModuleNotFoundError as error:
        from p2l_model.errors import ExtraMissingError

        raise ExtraMissingError(error.name or "torch", "train") from error
    from p2l_model.fitting.config import load_train_config

    overrides = {"family": args.family, "base": args.base, "seed": args.seed}
    config = load_train_config(Path(args.config) if args.config else None, overrides)
    validation = args.validation and data_files(args.validation, "validation")
    with progress_bars() as bars:
        manifest = train(
            config,
            data_files(args.data, "train"),
            validation or validation_twins(args.data),
            Path(args.out),
            bars,
            score_range=score_range(args.score_range),
        )
    figures = manifest.metrics["validation"]
    if args.json:
        print(json.dumps({"checkpoint": args.out, "models": manifest.models, "metrics": figures}))
    else:
        print(f"{args.out}: {len(manifest.models)} models, family {manifest.family}")
        print(f"validation log-loss {figures['log_loss']:.4f}, marginal leaderboard "
              f"{figures['baseline']['log_loss']:.4f}", file=sys.stdout)  # fmt: skip
    return 0
