"""`p2l-router VERB --help` explains every verb and every flag in sentences."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from server.cli import parser_for
from server.commands.verbs import GROUPS, VERBS


def parsers(verb: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a verb, and those of its actions."""
    waiting = [subparsers(parser_for(verb))[verb]]
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
    assert parser_for(verb).parse_args(arguments).verb == verb


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_printed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser_for(verb).parse_args([verb, "--help"])
    assert ended.value.code == 0
    assert f"Example:\n  p2l-router {VERBS[verb].example}\n" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_action_has_an_example_that_can_be_given(verb: str) -> None:
    for parser in list(parsers(verb))[1:]:
        heading, _, example = (parser.epilog or "").partition("\n  p2l-router ")
        assert heading == "Example:", (verb, parser.prog)
        assert parser.prog.endswith(" ".join(shlex.split(example)[:2]))
        assert parser_for(verb).parse_args(shlex.split(example)).verb == verb


def test_every_verb_is_in_one_group() -> None:
    grouped = [verb for verbs in GROUPS.values() for verb in verbs]
    assert sorted(grouped) == sorted(VERBS)


def test_help_lists_verbs_by_groups() -> None:
    text = parser_for(None).format_help()
    assert [text.index(f"\n{title}:\n") for title in GROUPS] == sorted(
        text.index(f"\n{title}:\n") for title in GROUPS
    )
    for verb, (summary, _) in VERBS.items():
        assert f"  {verb:12}{summary}\n" in text
