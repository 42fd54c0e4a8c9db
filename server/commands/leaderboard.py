"""`p2l-router leaderboard`: prints the leaderboard of a prompt."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from server.commands.flags import add_checkpoint, add_engine
from server.commands.outputs import left, table_lines
from server.commands.prompts import add_prompt_arguments, print_results, read_prompts

if TYPE_CHECKING:
    from p2l_model.types import PromptLeaderboard
    from server.commands.leaderboard_placed import PlacedRows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_prompt_arguments(parser)
    add_checkpoint(parser)
    add_engine(parser)
    parser.add_argument("--models", metavar="NAMES",
                        help="Only these models, separated by commas. One without a column of its "
                             "own is placed by public facts. all: every model of the checkpoint "
                             "and of the facts.")  # fmt: skip
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
    placed = _placed(args, checkpoint.marginal)
    results = []
    for messages in prompts:
        ids = checkpoint.prompt.encode(Conversation(user_turns(messages)))
        found = checkpoint.leaderboard(engine.features([ids])[0])
        board = leaderboard_json(found)
        if placed is not None:
            board = placed.added(board, found)
        board["data"] = board["data"][: args.top]
        results.append(board)
    if args.json:
        print_results(results, many)
    else:
        print("\n\n".join(_table(result) for result in results))
    return 0


def _placed(args: argparse.Namespace, marginal: PromptLeaderboard) -> PlacedRows | None:
    """Raises DataError."""
    from p2l_model.errors import DataError
    from server.commands.leaderboard_placed import PlacedRows

    if args.models is None:
        return None
    names = [name.strip() for name in args.models.split(",")]
    if "" in names:
        raise DataError("--models holds an empty name: write all, or names separated by commas")
    return PlacedRows(marginal, names)


def _table(board: dict[str, Any]) -> str:
    columns = ["rank", left("model"), "coefficient", "win rate", "tokens"]
    if any("placed" in row for row in board["data"]):
        columns += ["sd", left("place")]
    return "\n".join(table_lines(columns, map(_cells, board["data"])))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    tokens = row["expected_output_tokens"]
    shown = "-" if tokens is None else f"{tokens:.0f}"
    coefficient, rate = f"{row['coefficient']:.3f}", f"{row['win_rate']:.1%}"
    cells = str(row["rank"]), row["model"], coefficient, rate, shown
    if "placed" not in row:
        return cells
    return (*cells, f"{row['sd']:.2f}", "placed" if row["placed"] else "own column")
