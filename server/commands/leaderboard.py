"""`p2l-router leaderboard`: prints the leaderboard of a prompt."""

from __future__ import annotations

import argparse
from typing import Any

from server.commands.flags import add_checkpoint, add_engine
from server.commands.outputs import left, table_lines
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
    columns = ("rank", left("model"), "coefficient", "win rate", "tokens")
    return "\n".join(table_lines(columns, map(_cells, board["data"])))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    tokens = row["expected_output_tokens"]
    shown = "-" if tokens is None else f"{tokens:.0f}"
    coefficient, rate = f"{row['coefficient']:.3f}", f"{row['win_rate']:.1%}"
    return str(row["rank"]), row["model"], coefficient, rate, shown
