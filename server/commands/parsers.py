"""The parser of each subcommand. Its module is imported only where its flags are wanted."""

from __future__ import annotations

import argparse
import importlib
from typing import Any, Final

from server.commands.verbs import VERBS

# A module cannot have the name of this subcommand.
_MODULES: Final = {"import": "import_reference"}


def verb_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of one subcommand with all its flags."""
    parser = argparse.ArgumentParser(prog=f"p2l-router {verb}", **texts_of(verb))
    add_flags(parser, verb)
    return parser


def texts_of(verb: str) -> dict[str, Any]:
    """What the help of a subcommand says besides its flags."""
    summary, example = VERBS[verb]
    return {
        "description": summary,
        "epilog": f"Example:\n  p2l-router {example}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_flags(parser: argparse.ArgumentParser, verb: str) -> None:
    """Adds the flags of a subcommand, and the function that runs it."""
    module = importlib.import_module(f"server.commands.{_MODULES.get(verb, verb)}")
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true",
                        help="Print one JSON document on standard output.")  # fmt: skip
    parser.set_defaults(run=module.run)
