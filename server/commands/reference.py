"""Generates the reference page of the command line from its parsers (`make docs`)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from server.commands.parsers import verb_parser
from server.commands.verbs import GROUPS, VERBS

_HEAD: Final = """# Commands

`p2l-router VERB --help` says the same at the terminal. `--json`, which every verb has, prints one
JSON document on standard output; progress and logs go to standard error. The exit status is 0, 1
where a job failed, or 2 where the command or its input is wrong. `p2l-router completion bash` (or
`zsh`, `fish`) completes verbs, flags and choices.

This page is generated (`make docs`).
"""
# Every verb has these.
_COMMON: Final = frozenset({"--help", "--json"})


def reference() -> str:
    """The reference page, in Markdown."""
    return "\n".join([_HEAD, *_contents(), *_sections()])


def _contents() -> Iterator[str]:
    yield "| group | verbs |"
    yield "|---|---|"
    for title, verbs in GROUPS.items():
        yield f"| {title} | {', '.join(f'[{verb}](#{verb})' for verb in verbs)} |"
    yield ""


def _sections() -> Iterator[str]:
    for verbs in GROUPS.values():
        for verb in verbs:
            yield f"## {verb}\n"
            yield from _said(verb_parser(verb), verb, VERBS[verb].example)


def _said(parser: argparse.ArgumentParser, name: str, example: str) -> Iterator[str]:
    yield f"{parser.description}\n"
    yield f"    p2l-router {example}\n"
    rows = [row for action in parser._actions for row in _row(action)]
    if rows:
        yield "| argument | meaning |"
        yield "|---|---|"
        yield from rows
        yield ""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, own in action.choices.items():
                yield f"### {name} {word}\n"
                own_example = (own.epilog or "").partition("p2l-router ")[2]
                yield from _said(own, f"{name} {word}", own_example)


def _row(action: argparse.Action) -> Iterator[str]:
    """The row of an argument; none for what every verb has."""
    if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
        return
    if _COMMON.isdisjoint(action.option_strings):
        expanded = argparse.HelpFormatter("p2l-router")._expand_help(action)
        said = " ".join(expanded.split()).replace("|", "\\|")
        yield f"| `{_written(action)}` | {said}{_choices(action, said)} |"


def _written(action: argparse.Action) -> str:
    """An argument as it is written on a command line."""
    value = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
    shown = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return shown.upper()
    flag = action.option_strings[-1]
    if action.nargs == 0:
        return flag
    return f"{flag} {'VALUE' if action.choices is not None and action.metavar is None else shown}"


def _choices(action: argparse.Action, said: str) -> str:
    """The choices that the sentence does not name."""
    among = [] if action.choices is None else [str(choice) for choice in action.choices]
    if all(choice in said for choice in among):
        return ""
    return f" One of {', '.join(f'`{choice}`' for choice in among)}."


if __name__ == "__main__":
    print(reference(), end="")
