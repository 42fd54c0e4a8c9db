"""`p2l-router trials`: where the trials of new models stand."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from server.build import database_of, settings_from
from server.commands.flags import add_config
from server.commands.outputs import left, table_lines
from server.storage.migrate import migrate
from server.tasks.judge_trials import trials_json

_COLUMNS = (
    left("profile"),
    left("new models"),
    "share",
    "new rated",
    "usual rated",
    "new mean",
    "usual mean",
    "difference",
    left("standing"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError, StorageError."""
    settings = settings_from(args.config)
    database = database_of(settings.storage)
    try:
        migrate(database)
        rows = trials_json(database, settings.routing)
    finally:
        database.close()
    if args.json:
        print(json.dumps(rows))
    elif rows:
        print("\n".join(table_lines(_COLUMNS, map(_cells, rows))))
    else:
        print("No profile has a trial: see routing.profiles.NAME.trial in docs/trials.md.")
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    said = {"open": "goes on", "worse": "worse than allowed"}.get(row["verdict"], row["verdict"])
    if row["stopped_at"] is not None:
        day = datetime.fromtimestamp(row["stopped_at"], UTC).date()
        said = f"stopped on {day}: worse than allowed"
    return (
        row["profile"],
        ", ".join(row["models"]),
        f"{row['share']:g}",
        str(row["n_new"]),
        str(row["n_usual"]),
        _mean(row["mean_new"]),
        _mean(row["mean_usual"]),
        f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}",
        said,
    )


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
