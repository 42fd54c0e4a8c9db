"""The command line `p2l-router`: one command with subcommands.

Imports are local to the subcommands, so that start-up is quick and settings that numpy reads at its
import can be made before.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from p2l_model.errors import CheckpointError, DataError, ExtraMissingError, P2LError
from server.commands.parsers import add_flags, texts_of
from server.commands.verbs import GROUPS, VERBS

FAILED: Final = 1
BAD_INPUT: Final = 2

# These subcommands compute for one prompt at a time.
_BY_THE_PROMPT: Final = frozenset({"serve", "model", "leaderboard", "route"})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand. Returns the exit status: 0, 1 for a job that failed, 2 for bad usage or
    input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else None
    if verb in _BY_THE_PROMPT:
        _keep_matrices_to_one_thread()
    from server.config.file import ConfigError

    parser = parser_for(verb)
    args = parser.parse_args(arguments)
    if args.verb is None:
        parser.print_help(sys.stderr)
        return BAD_INPUT
    try:
        return int(args.run(args))
    except (ConfigError, DataError, CheckpointError, ExtraMissingError) as error:
        return _say(error, BAD_INPUT)
    except P2LError as error:
        return _say(error, FAILED)
    except KeyboardInterrupt:
        return _say("stopped; the same train command goes on where it stopped", FAILED)


def parser_for(verb: str | None) -> argparse.ArgumentParser:
    """The parser of the command line. Only the module of the subcommand `verb` is imported, and the
    others have no flags; None: none is."""
    parser = _GroupedParser(
        prog="p2l-router",
        usage="p2l-router VERB [flags]",
        description="Sends each prompt to the model most likely to win it, within your budget.",
        epilog="Begin with:\n  p2l-router init\n  p2l-router VERB --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('p2l-router')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=argparse.ArgumentParser)
    for name in VERBS:
        sub = verbs.add_parser(name, **texts_of(name))
        if name == verb:
            add_flags(sub, name)
    return parser


class _GroupedParser(argparse.ArgumentParser):
    """A parser whose help lists the subcommands by groups."""

    def format_help(self) -> str:
        parts = [self.format_usage(), f"\n{self.description}\n"]
        for title, names in GROUPS.items():
            rows = (f"  {name:12}{VERBS[name].summary}\n" for name in names)
            parts.append(f"\n{title}:\n{''.join(rows)}")
        return "".join([*parts, f"\n{self.epilog}\n"])


def _keep_matrices_to_one_thread() -> None:
    """Limits OpenBLAS to one thread. The heads' products take a tenth of a millisecond; its other
    threads would then spin for 15 ms in wait of more work, and the event loop would wait for them.
    A variable that is already set is kept."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _say(error: object, status: int) -> int:
    print(f"p2l-router: {error}", file=sys.stderr)
    return status
