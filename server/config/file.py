"""Reads the YAML file. Every error message names the file, the line, the key and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from server.config.settings import Settings


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the line and the key."""


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice: one of the two would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_settings(path: Path) -> Settings:
    """Loads the settings from a file. Raises ConfigError where it cannot be read or is invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_settings(text, str(path))


def parse_settings(text: str, source: str = "configuration") -> Settings:
    """The settings of a YAML text. Raises ConfigError."""
    root, data = _parse(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}:1: expected keys such as providers and models at the top")
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_complaints(error, root, source))) from error


def _parse(text: str, source: str) -> tuple[yaml.Node | None, object]:
    try:
        loader = _StrictLoader(text)
        root = loader.get_single_node()
        return root, ({} if root is None else loader.construct_document(root))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = 1 if mark is None else mark.line + 1
        raise ConfigError(f"{source}:{line}: {error.problem}") from error


def _complaints(error: ValidationError, root: yaml.Node | None, source: str) -> list[str]:
    return [
        f"{source}:{_line(root, item['loc'])}: {_key(item['loc'])}{_sentence(item['msg'])}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _key(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) + ": " if location else ""


def _sentence(message: str) -> str:
    if message == "Extra inputs are not permitted":
        return "unknown key: remove it or correct its spelling"
    return message.removeprefix("Value error, ")


def _line(root: yaml.Node | None, location: Sequence[int | str]) -> int:
    """The 1-based line of the deepest part of the location that is in the file."""
    node, line = root, 1 if root is None else root.start_mark.line + 1
    for part in location:
        key, node = _child(node, part)
        if key is None:
            break
        line = key.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None, None
