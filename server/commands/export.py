"""`p2l-router export`: makes a checkpoint's artefact for the CPU engine, and measures what it
changes."""

from __future__ import annotations

import argparse
import json
import shutil
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2l_model.errors import CheckpointError, P2LError
from server.commands.flags import add_config
from server.commands.progress import progress_bars
from server.commands.prompts import read_file

if TYPE_CHECKING:
    from p2l_model.checkpoint.folder import Checkpoint
    from p2l_model.types import Conversation
    from server.offline.routing_effect import RoutingEffect


class ExportRefusedError(P2LError):
    """The export would change decisions by more than is allowed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR",
                        help="A checkpoint folder, or the word bundled.")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="The checkpoint folder to write.")  # fmt: skip
    parser.add_argument("--precision", default="int8", choices=["int8", "fp32"],
                        help="The precision of the arithmetic (default: int8).")  # fmt: skip
    parser.add_argument("--prompts", metavar="F",
                        help="The prompts to measure on: JSONL with prompt or messages in each "
                             "line (default: 60 prompts of many kinds that are part of "
                             "p2l-router).")  # fmt: skip
    add_config(parser, more="Decisions are measured with its models and prices.")
    parser.add_argument("--max-regret", type=float, default=0.002, metavar="R",
                        help="How far the mean win rate may fall before the result is refused "
                             "(default: 0.002).")  # fmt: skip
    parser.add_argument("--max-changed", type=float, default=0.1, metavar="S",
                        help="Which share of decisions may change before the result is refused "
                             "(default: 0.1).")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Nothing is written where the export is refused.
    Raises P2LError."""
    from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
    from p2l_model.engine.export import export_checkpoint

    source = load_checkpoint(resolve_checkpoint(args.checkpoint))
    out = Path(args.out)
    if out.resolve() == source.path.resolve():
        raise CheckpointError(f"--out {out} is the checkpoint itself: name another folder")
    prompts = _prompts(args.prompts)
    draft = out.with_name(f".{out.name}.draft")
    try:
        exported = export_checkpoint(source, draft, args.precision)
        with progress_bars() as bars:
            effect = _effect(source, exported, prompts, args.config, bars)
        _check(effect, args)
        bounds = {"max_regret": args.max_regret, "max_changed": args.max_changed}
        measured = {"precision": args.precision, **effect.json(), **bounds}
        export_checkpoint(source, out, args.precision, measured)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    report = {"checkpoint": args.out, "size_bytes": size, **measured}
    print(json.dumps(report) if args.json else _text(report))
    return 0


def _prompts(path: str | None) -> list[Conversation]:
    from p2l_model.types import Conversation, user_turns

    if path is not None:
        return [Conversation(user_turns(messages)) for messages in read_file(path)]
    lines = files("server.commands").joinpath("export_prompts.txt").read_text("utf-8").splitlines()
    short = [Conversation((line.replace("\\n", "\n"),)) for line in lines if line]
    # Long prompts too: conversations of several turns, and one that is truncated.
    turns = [text for one in short for text in one.turns]
    return [
        *short,
        *(Conversation(tuple(turns[k::9])) for k in range(9)),
        Conversation(tuple(turns)),
    ]


def _effect(
    source: Checkpoint,
    exported: Checkpoint,
    prompts: list[Conversation],
    config: str | None,
    bars: Any,
) -> RoutingEffect:
    from server.build import settings_from
    from server.catalogue.cards import build_catalogue
    from server.offline.routing_effect import routing_effect

    catalogue = build_catalogue(settings_from(config))
    boards = []
    for stage, checkpoint, engine in (
        ("exact leaderboards (torch)", source, "torch"),
        ("the export's", exported, "auto"),
    ):
        boards.append(_leaderboards(checkpoint, engine, prompts, partial(bars, stage)))
    lengths = [len(source.prompt.encode(prompt)) for prompt in prompts]
    return routing_effect(boards[0], boards[1], lengths, catalogue)


def _leaderboards(
    checkpoint: Checkpoint, kind: str, prompts: list[Conversation], progress: Any
) -> list[Any]:
    from p2l_model.engine.features import prompt_features
    from p2l_model.engine.load import load_engine

    engine = load_engine(checkpoint, kind)
    try:
        rows = prompt_features(prompts, checkpoint.prompt, engine, progress)
    finally:
        engine.close()
    return [checkpoint.leaderboard(row.astype("float32")) for row in rows]


def _check(effect: RoutingEffect, args: argparse.Namespace) -> None:
    """Checks the effect against the limits. Raises ExportRefusedError."""
    figures = (
        ("mean regret in win rate", effect.regret_mean, args.max_regret, "--max-regret"),
        ("share of decisions changed", effect.changed, args.max_changed, "--max-changed"),
    )
    for what, value, bound, flag in figures:
        if value > bound:
            raise ExportRefusedError(
                f"refused: {what} {value:.4f} is over {flag} {bound:g} (coefficients are off by "
                f"{effect.coefficient_error_mean:.3f} on average, at most by "
                f"{effect.coefficient_error_max:.3f}): use --precision fp32, or raise the bound"
            )


def _text(report: dict[str, Any]) -> str:
    return (
        f"{report['checkpoint']}: {report['precision']}, {report['size_bytes'] / 1e6:.1f} MB\n"
        f"  on {report['n_prompts']} prompts, {report['n_decisions']} decisions, against torch in "
        "float32:\n"
        f"  coefficients off by {report['coefficient_error_mean']:.4f} on average, "
        f"{report['coefficient_error_p99']:.4f} at the 99th percentile, "
        f"{report['coefficient_error_max']:.4f} at most (spread over models "
        f"{report['coefficient_spread']:.2f})\n"
        f"  decisions changed: {report['changed']:.2%}; regret in win rate: "
        f"{report['regret_mean']:.5f} on average, {report['regret_max']:.4f} at most"
    )
