"""`p2l-router feedback export`: writes stored feedback as files that `train` reads."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from p2l_model.errors import DataError
from server.build import database_of, settings_from
from server.commands.actions import actions_of, add_action
from server.storage.feedback import count_feedback, scores, votes
from server.storage.migrate import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of each action."""
    export = add_action(
        actions_of(parser),
        "export",
        "Write comparisons as votes, and ratings as scores.",
        "feedback export --out votes.jsonl --scores graded.jsonl",
    )
    export.add_argument("--out", required=True, metavar="FILE",
                        help="Write the votes there, as JSONL.")  # fmt: skip
    export.add_argument("--scores", metavar="FILE",
                        help="Write the scores there, as JSONL (default: scores are left "
                             "out).")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Only feedback whose prompt is known becomes a row:
    prompts are stored with storage.keep_prompts, or come with the feedback.

    Anybody with a key can vote: `user` is the key's name, so that a key whose votes disagree with
    all others' can be found and left out before training. Raises ConfigError, DataError,
    StorageError.
    """
    database = database_of(settings_from(args.config).storage)
    try:
        migrate(database)
        report = {
            "feedback": count_feedback(database),
            "votes": _write(args.out, votes(database)),
            "scores": 0 if args.scores is None else _write(args.scores, scores(database)),
        }
    finally:
        database.close()
    if args.json:
        print(json.dumps(report))
    else:
        told = f"{report['votes']} votes, {report['scores']} scores"
        print(f"{told} of {report['feedback']} pieces of feedback", file=sys.stderr)
    return 0


def _write(path: str, rows: Iterable[dict[str, Any]]) -> int:
    n_rows = 0
    try:
        with Path(path).open("wb") as file:
            for row in rows:
                file.write(orjson.dumps(row) + b"\n")
                n_rows += 1
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
    return n_rows
