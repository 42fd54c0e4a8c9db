"""`p2l-router onboard`: adds a model that the checkpoint has never seen, from few votes or none."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from server.commands.datasets import data_files, score_range
from server.commands.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--model", required=True, help="the new model's name, as in the data")
    parser.add_argument("--data", nargs="+", metavar="PATH",
                        help="votes or scores with the new model and known ones; without, the row "
                             "is what the other models' rows suggest")  # fmt: skip
    parser.add_argument("--out", required=True, help="the checkpoint folder to write")
    parser.add_argument("--like", metavar="MODEL", help="a known model that it resembles")
    parser.add_argument("--engine", default="auto", choices=["auto", "onnx", "torch"])
    parser.add_argument("--score-range", metavar="LO,HI", help="of score files (default: 0,1)")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    try:
        from p2l_model.training.onboard import onboard
    except ModuleNotFoundError as error:
        from p2l_model.errors import ExtraMissingError

        raise ExtraMissingError(error.name or "torch", "train") from error
    from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
    from p2l_model.data.files import load_votes
    from p2l_model.data.model_names import canonical
    from p2l_model.engine.load import load_engine

    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    votes = None
    if args.data is not None:
        files = data_files(args.data, "train")
        votes = load_votes(files, seed=0, score_range=score_range(args.score_range))
    name = canonical(args.model)
    with progress_bars() as bars:
        manifest = onboard(
            checkpoint,
            load_engine(checkpoint, args.engine),
            name,
            votes,
            Path(args.out),
            lambda done, total: bars("scoring prompts", done, total),
            like=args.like,
        )
    facts = manifest.onboarded[name]
    summary = {"checkpoint": args.out, "model": name, "n_votes": facts.n_votes, "like": facts.like,
               "marginal_coefficient": manifest.marginal.coefficients[-1]}  # fmt: skip
    if args.json:
        print(json.dumps(summary))
    else:
        print(f"{args.out}: {name} from {facts.n_votes} votes, {len(manifest.models)} models")
    return 0
