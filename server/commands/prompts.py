"""The prompts of a command: an argument, a file, or standard input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2l_model.data.rows import json_object, json_value
from p2l_model.errors import DataError


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments: PROMPT, --file F, or - for standard input."""
    parser.add_argument("prompt", nargs="?", metavar="PROMPT",
                        help="The text of the prompt, or - to read it from standard "
                             "input.")  # fmt: skip
    parser.add_argument("--file", metavar="F",
                        help="Read prompts from this file: JSONL with prompt or messages in each "
                             "line, or plain text, which is one prompt.")  # fmt: skip


def read_prompts(args: argparse.Namespace) -> tuple[list[list[dict[str, Any]]], bool]:
    """Returns (the messages of each prompt, whether several prompts were given). Raises
    DataError."""
    if (args.prompt is None) == (args.file is None):
        raise DataError("give a prompt, or --file F, or - to read standard input")
    if args.file is None and args.prompt != "-":
        return [_user(args.prompt)], False
    name = args.file or "standard input"
    try:
        text = sys.stdin.read() if args.file is None else Path(args.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    if not text.strip():
        raise DataError(f"{name} is empty")
    return _parsed(text, name)


def read_file(name: str) -> list[list[dict[str, Any]]]:
    """The messages of each prompt in a file. Raises DataError."""
    return read_prompts(argparse.Namespace(prompt=None, file=name))[0]


def _parsed(text: str, name: str) -> tuple[list[list[dict[str, Any]]], bool]:
    # splitlines() would end a line at U+2028 and others, which JSON may hold as they are.
    lines = [line for line in text.split("\n") if line.strip()]
    if not _is_jsonl(lines, name):
        return [_user(text)], False
    prompts = [_from_line(line, f"{name}: row {row}") for row, line in enumerate(lines, 1)]
    return prompts, len(prompts) > 1


def _is_jsonl(lines: Sequence[str], name: str) -> bool:
    """Whether a file is JSONL, by its name or because its first line is a prompt; otherwise all of
    it is one prompt."""
    if Path(name).suffix.lower() == ".jsonl":
        return True
    if all(line.lstrip().startswith("{") for line in lines):
        return True
    try:
        first = json_value(lines[0], name)
    except DataError:
        return False
    return isinstance(first, dict) and not first.keys().isdisjoint(("prompt", "messages"))


def _from_line(line: str, where: str) -> list[dict[str, Any]]:
    value = json_object(line, where)
    if isinstance(value.get("prompt"), str):
        return _user(value["prompt"])
    messages = value.get("messages")
    if isinstance(messages, list) and messages and all(isinstance(m, dict) for m in messages):
        return messages
    raise DataError(f"{where} needs prompt (text) or messages (a list of objects with role)")


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def print_results(results: list[dict[str, Any]], many: bool) -> None:
    """Prints one object for one prompt, {"data": [...]} for several."""
    print(json.dumps({"data": results} if many else results[0], ensure_ascii=False))
