"""Subcommands with actions of their own: `keys create`, `feedback export`."""

from __future__ import annotations

import argparse
from typing import Any

from server.commands.flags import add_config

Actions = Any


def actions_of(parser: argparse.ArgumentParser) -> Actions:
    """Adds a place for actions to a subcommand."""
    add_config(parser)
    return parser.add_subparsers(dest="action", metavar="ACTION", required=True)


def add_action(actions: Actions, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """Adds an action; the subcommand's own flags may also follow it. example: of its use, without
    the name of the program."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"Example:\n  p2l-router {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    absent = argparse.SUPPRESS
    add_config(parser, default=absent)
    parser.add_argument("--json", action="store_true", default=absent,
                        help="Print one JSON document.")  # fmt: skip
    return parser
