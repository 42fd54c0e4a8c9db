"""`p2l-router VERB --help` explains every verb and every flag in sentences."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from server.cli import _parser
from server.commands.verbs import VERBS


def parsers(verb: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a verb, and those of its actions."""
    waiting = [subparsers(_parser(verb))[verb]]
    while waiting:
        parser = waiting.pop()
        yield parser
        waiting.extend(subparsers(parser).values())


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: sub
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, sub in action.choices.items()
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_is_explained_by_a_sentence(verb: str) -> None:
    for parser in parsers(verb):
        assert parser.description is not None
        assert parser.description.endswith(".")
        for action in parser._actions:
            if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
                continue
            if action.help != argparse.SUPPRESS:
                assert action.help is not None, (verb, action.dest)
                assert action.help.endswith("."), (verb, action.dest)


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_is_a_command_that_can_be_given(verb: str) -> None:
    arguments = shlex.split(VERBS[verb].example)
    assert arguments[0] == verb
    assert _parser(verb).parse_args(arguments).verb == verb


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_printed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser(verb).parse_args([verb, "--help"])
    assert ended.value.code == 0
    assert f"Example:\n  p2l-router {VERBS[verb].example}\n" in capsys.readouterr().out
