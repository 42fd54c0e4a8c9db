"""The prompts of commands that process very many: a file, standard input, or those that the gateway
stored."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from server.commands.flags import add_checkpoint, add_config, add_engine, add_seed

if TYPE_CHECKING:
    from p2l_model.analysis.prompts import PromptChunk
    from p2l_model.analysis.scored import PromptReader

STORED: Final = "stored"


def add_prompts_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of every command over many prompts."""
    parser.add_argument("--prompts", required=True, metavar="F",
                        help="A .parquet, .jsonl or .csv file with a column prompt or messages "
                             "and, if wanted, weight; a .txt file with one prompt per line; - for "
                             "standard input; or the word stored, for the prompts that the "
                             "gateway kept (with columns key and day).")  # fmt: skip
    add_config(parser, more="It is needed for --prompts stored alone.")
    add_checkpoint(parser)
    add_engine(parser)
    parser.add_argument("--models", metavar="NAMES",
                        help="Only these models, separated by commas (default: all).")  # fmt: skip
    add_seed(parser)


def load_reader(args: argparse.Namespace) -> PromptReader:
    """Loads the checkpoint for the models asked for. Raises CheckpointError, DataError."""
    from p2l_model.analysis.scored import PromptReader

    names = None if args.models is None else [n.strip() for n in args.models.split(",")]
    return PromptReader.load(args.checkpoint, args.engine, names)


def n_rows_of(args: argparse.Namespace) -> int:
    """The number of rows for the progress display; 0 where it is unknown."""
    from p2l_model.analysis.prompts import count_rows

    return 0 if args.prompts == STORED else count_rows(args.prompts) or 0


def chunks_of(args: argparse.Namespace, skip: int = 0) -> Iterator[PromptChunk]:
    """The prompts in chunks. skip: the number of rows of a file that are already done. Raises
    DataError, ConfigError, ExtraMissingError."""
    from p2l_model.analysis.prompts import read_prompts

    if args.prompts == STORED:
        yield from _stored(args)
        return
    yield from read_prompts(args.prompts, by=args.by, skip=skip)


def _stored(args: argparse.Namespace) -> Iterator[PromptChunk]:
    from p2l_model.analysis.prompts import chunked
    from p2l_model.errors import DataError
    from server.build import settings_from
    from server.offline.stored_feedback import open_database, stored_prompts

    database = open_database(settings_from(args.config).storage)
    try:
        with stored_prompts(database) as rows:
            none = True
            for chunk in chunked(rows, "stored prompts", args.by):
                none = False
                yield chunk
    finally:
        database.close()
    if none:
        raise DataError("no prompt is stored: the gateway keeps them with storage.keep_prompts")
