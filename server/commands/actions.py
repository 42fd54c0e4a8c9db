"""Verbs with actions of their own: `keys create`, `feedback export`."""

from __future__ import annotations

import argparse
from typing import Any

Actions = Any


def actions_of(parser: argparse.ArgumentParser) -> Actions:
    """Where actions are added to a verb."""
    parser.add_argument("--config", help="YAML (env: P2L_CONFIG)")
    return parser.add_subparsers(dest="action", metavar="ACTION", required=True)


def add_action(actions: Actions, name: str, summary: str) -> argparse.ArgumentParser:
    """An action; the verb's own flags may also stand behind it."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    absent = argparse.SUPPRESS
    parser.add_argument("--config", default=absent, help="YAML (env: P2L_CONFIG)")
    parser.add_argument("--json", action="store_true", default=absent, help="one JSON document")
    return parser
