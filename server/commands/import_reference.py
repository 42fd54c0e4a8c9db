"""`p2l-router import`: converts a reference (lmarena/p2l) checkpoint to one of ours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from server.commands.progress import progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("--from", required=True, dest="source", metavar="DIR",
                        help="The folder of the reference checkpoint: config.json, *.safetensors, "
                             "model_list.json, the tokenizer and "
                             "training_config.json.")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="The checkpoint folder to write.")  # fmt: skip
    parser.add_argument("--family",
                        help="The family of the heads: bt, bt-tie, rk, rk-reparam, grk or ba. It "
                             "is needed where training_config.json is missing.")  # fmt: skip
    parser.add_argument("--max-tokens", type=int, metavar="N",
                        help="How many tokens of a prompt the model reads. It is needed where "
                             "training_config.json is missing.")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    try:
        from p2l_model.training.import_reference import import_reference
    except ModuleNotFoundError as error:
        from p2l_model.errors import ExtraMissingError

        raise ExtraMissingError(error.name or "torch", "torch") from error

    with progress_bars() as bars:
        manifest = import_reference(
            Path(args.source), Path(args.out), bars, family=args.family, max_tokens=args.max_tokens
        )
    summary = {
        "checkpoint": args.out,
        "family": manifest.family.value,
        "backbone": manifest.backbone,
        "max_tokens": manifest.max_tokens,
        "models": manifest.models,
    }
    if args.json:
        print(json.dumps(summary))
    else:
        print(f"{args.out}: {len(manifest.models)} models, family {manifest.family}, "
              f"{manifest.max_tokens} tokens; serve it with --engine torch")  # fmt: skip
    return 0
