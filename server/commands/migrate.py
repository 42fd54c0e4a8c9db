"""`p2l-router migrate`: brings the database's schema up to date, as `serve` does at its start."""

from __future__ import annotations

import argparse
import json

from server.build import database_of, settings_from
from server.commands.flags import add_config
from server.storage.migrate import HEAD, migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError, StorageError."""
    database = database_of(settings_from(args.config).storage)
    try:
        changed = migrate(database)
    finally:
        database.close()
    if args.json:
        print(json.dumps({"revision": HEAD, "changed": changed}))
    else:
        print(f"{database.shown}: {'migrated to' if changed else 'is at'} {HEAD}")
    return 0
