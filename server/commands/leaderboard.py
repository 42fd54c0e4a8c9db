"""`p2l-router leaderboard`: prints the leaderboard of a prompt."""

from __future__ import annotations

import argparse
from typing import Any

from server.commands.flags import add_checkpoint, add_engine
from server.commands.prompts import add_prompt_arguments, print_results, read_prompts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_prompt_arguments(parser)
    add_checkpoint(parser)
    add_engine(parser)
    parser.add_argument("--top", type=int, metavar="N", help="Show only the N best models.")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    prompts, many = read_prompts(args)

    from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
    from p2l_model.engine.load import load_engine
    from p2l_model.types import Conversation, user_turns
    from server.endpoints.leaderboard import leaderboard_json

    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    engine = load_engine(checkpoint, args.engine)
    results = []
    for messages in prompts:
        ids = checkpoint.prompt.encode(Conversation(user_turns(messages)))
        board = leaderboard_json(checkpoint.leaderboard(engine.features([ids])[0]))
        board["data"] = board["data"][: args.top]
        results.append(board)
    if args.json:
        print_results(results, many)
    else:
        print("\n\n".join(_table(result) for result in results))
    return 0


def _table(board: dict[str, Any]) -> str:
    lines = [f"{'rank':>4}  {'model':34}{'coefficient':>12}{'win rate':>10}{'tokens':>8}"]
    for row in board["data"]:
        tokens = row["expected_output_tokens"]
        shown = "-" if tokens is None else f"{tokens:.0f}"
        lines.append(
            f"{row['rank']:>4}  {row['model']:34}{row['coefficient']:>12.3f}"
            f"{row['win_rate']:>10.1%}{shown:>8}"
        )
    return "\n".join(lines)
