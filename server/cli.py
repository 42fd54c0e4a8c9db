"""The command line `p2l-router`: one command with subcommands.

Imports are local to the subcommands, so that start-up is quick and settings that numpy reads at its
import can be made before.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from p2l_model.errors import CheckpointError, DataError, ExtraMissingError, P2LError
from server.commands.verbs import VERBS

FAILED: Final = 1
BAD_INPUT: Final = 2

# These subcommands compute for one prompt at a time.
_BY_THE_PROMPT: Final = frozenset({"serve", "model", "leaderboard", "route"})
# A module cannot have the name of this subcommand.
_MODULES: Final = {"import": "import_reference"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand. Returns the exit status: 0, 1 for a job that failed, 2 for bad usage or
    input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else None
    if verb in _BY_THE_PROMPT:
        _keep_matrices_to_one_thread()
    from server.config.file import ConfigError

    parser = _parser(verb)
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


def _parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser. Only the module of the subcommand in use is imported."""
    parser = argparse.ArgumentParser(
        prog="p2l-router",
        description="Sends each prompt to the model most likely to win it, within your budget.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('p2l-router')}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, (summary, example) in VERBS.items():
        sub = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"Example:\n  p2l-router {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name != verb:
            continue
        module = importlib.import_module(f"server.commands.{_MODULES.get(name, name)}")
        module.add_arguments(sub)
        sub.add_argument("--json", action="store_true",
                         help="Print one JSON document on standard output.")  # fmt: skip
        sub.set_defaults(run=module.run)
    return parser


def _keep_matrices_to_one_thread() -> None:
    """Limits OpenBLAS to one thread. The heads' products take a tenth of a millisecond; its other
    threads would then spin for 15 ms in wait of more work, and the event loop would wait for them.
    A variable that is already set is kept."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _say(error: object, status: int) -> int:
    print(f"p2l-router: {error}", file=sys.stderr)
    return status
