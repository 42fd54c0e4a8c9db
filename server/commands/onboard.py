"""`p2l-router onboard`: adds a model that the checkpoint has never seen, from few votes or none."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from server.commands.datasets import data_files, score_range
from server.commands.flags import add_checkpoint, add_engine, add_score_range
from server.commands.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_checkpoint(parser)
    parser.add_argument("--model", required=True, metavar="NAME",
                        help="The new model's name, as it is spelt in the data.")  # fmt: skip
    parser.add_argument("--data", nargs="+", metavar="PATH",
                        help="Votes or graded answers of the new model and of known ones. Without "
                             "data, the new model is placed by public facts and the other "
                             "models.")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="The checkpoint folder to write.")  # fmt: skip
    parser.add_argument("--like", metavar="MODEL",
                        help="A known model that the new one resembles.")  # fmt: skip
    add_engine(parser)
    add_score_range(parser)


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
    from p2l_model.data.tables import read_columns
    from p2l_model.engine.load import load_engine
    from p2l_model.evaluation.local import graded_rows

    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    votes, grades = None, []
    if args.data is not None:
        files, marks = data_files(args.data, "train"), score_range(args.score_range)
        votes = load_votes(files, seed=0, score_range=marks)
        read = [(read_columns(file), file) for file in files]
        grades = [graded_rows(*one, marks) for one in read if "winner" not in one[0]]
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
            grades=grades,
        )
    facts = manifest.onboarded[name]
    summary = {"checkpoint": args.out, "model": name, "n_votes": facts.n_votes, "like": facts.like,
               "marginal_coefficient": manifest.marginal.coefficients[-1]}  # fmt: skip
    if args.json:
        print(json.dumps(summary))
    else:
        print(f"{args.out}: {name} from {facts.n_votes} answers, {len(manifest.models)} models")
    return 0
