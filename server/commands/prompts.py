"""The prompts of a command: an argument, a file, or standard input."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from p2l_model.errors import DataError


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """PROMPT, --file F, or - for standard input."""
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="text, or - for standard input")
    parser.add_argument("--file", metavar="F",
                        help="JSONL with prompt or messages per line, or plain text")  # fmt: skip


def read_prompts(args: argparse.Namespace) -> tuple[list[list[dict[str, Any]]], bool]:
    """(the messages of each prompt, whether they came as many). Raises DataError."""
    if (args.prompt is None) == (args.file is None):
        raise DataError("give a prompt, or --file F, or - to read standard input")
    if args.file is None and args.prompt != "-":
        return [_user(args.prompt)], False
    name = args.file or "standard input"
    try:
        text = sys.stdin.read() if args.file is None else Path(args.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    if not text.strip():
        raise DataError(f"{name}: is empty")
    return _parsed(text, name)


def read_file(name: str) -> list[list[dict[str, Any]]]:
    """The messages of each of a file's prompts. Raises DataError."""
    return read_prompts(argparse.Namespace(prompt=None, file=name))[0]


def _parsed(text: str, name: str) -> tuple[list[list[dict[str, Any]]], bool]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not all(line.lstrip().startswith("{") for line in lines):
        return [_user(text)], False
    prompts = [_from_line(line, name, row) for row, line in enumerate(lines, 1)]
    return prompts, len(prompts) > 1


def _from_line(line: str, name: str, row: int) -> list[dict[str, Any]]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{name}: row {row}: is not JSON") from error
    if isinstance(value.get("prompt"), str):
        return _user(value["prompt"])
    if isinstance(value.get("messages"), list):
        messages: list[dict[str, Any]] = value["messages"]
        return messages
    raise DataError(f"{name}: row {row}: needs prompt (text) or messages (a list)")


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def print_results(results: list[dict[str, Any]], many: bool) -> None:
    """One object for one prompt, {"data": [...]} for many."""
    print(json.dumps({"data": results} if many else results[0], ensure_ascii=False))
