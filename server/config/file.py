"""Reads the YAML file. Every error message names the file, the line, the key and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from server.config.complaints import complaint, complaints, line_of
from server.config.renamed import BothNamesError, with_new_names
from server.config.settings import Settings


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the line and the key."""


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice: one of the two would be lost silently. It knows
    the line of everything that it refuses."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key must be a word, and no list or mapping", key)
            if key.value in seen:
                raise _refused(f"the key {key.value!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # such as a day that no month has
            raise _refused(str(error), node) from error


def _refused(said: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, said, node.start_mark)


def load_settings(path: Path) -> Settings:
    """Loads the settings from a file. Raises ConfigError where it cannot be read or is invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return parse_settings(text, str(path))


def parse_settings(text: str, source: str = "configuration") -> Settings:
    """The settings of a YAML text. Raises ConfigError."""
    root, data = _parse(text, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}:1: expected keys such as providers and models at the top")
    try:
        return Settings.model_validate(with_new_names(data, source))
    except BothNamesError as error:
        raise ConfigError(f"{source}:{line_of(root, str(error))}: {error}") from error
    except ValidationError as error:
        raise ConfigError("\n".join(complaints(error, root, source))) from error


def _parse(text: str, source: str) -> tuple[yaml.Node | None, object]:
    try:
        loader = _StrictLoader(text)
        root = loader.get_single_node()
        return root, ({} if root is None else loader.construct_document(root))
    except yaml.MarkedYAMLError as error:
        raise ConfigError(complaint(error, source)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = f"the character #x{int(error.character):04x} cannot be in a configuration: remove it"
        raise ConfigError(f"{source}:{line}: {said}") from error
    except RecursionError:
        raise ConfigError(f"{source}: it is nested too deeply to be read") from None
