"""Says what is wrong with a configuration: the file, the line, the key and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from server.config.settings import Settings

# A secret is named, not written. What is often written in place of the name -> the key for it.
_SECRETS: Final = {"api_key": "api_key_env", "key": "key_env", "password": "password_env"}
# What the library says of an amount with a comma, alone and within { }.
_SAID: Final = {
    "decimal_parsing": "must be a number with a point, such as 0.002",
    "invalid_key": "a key is a word and not a number: write an amount with a point, such as 0.002",
}
_TAB: Final = "found character '\\t' that cannot start any token"
Location = Sequence[int | str]


def complaints(error: ValidationError, root: yaml.Node | None, source: str) -> list[str]:
    """A line for everything that does not fit the settings. source: the file's name."""
    return [
        f"{source}:{line_of(root, item['msg'], item['loc'])}: {_key(item['loc'])}{_sentence(item)}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def complaint(error: yaml.MarkedYAMLError, source: str) -> str:
    """What is wrong with a text that is not YAML."""
    line = 1 if error.problem_mark is None else error.problem_mark.line + 1
    is_tab = error.problem == _TAB
    said = "the line begins with a tab: indent it with spaces" if is_tab else error.problem
    return f"{source}:{line}: {said}"


def line_of(root: yaml.Node | None, message: str, location: Location = ()) -> int:
    """The 1-based line of the deepest part of the location that is in the file. Without a location,
    the message begins with the key."""
    line = 1 if root is None else root.start_mark.line + 1
    for key in _walk(root, location) if location else _walk_by(root, message):
        line = key.start_mark.line + 1
    return line


def _key(location: Location) -> str:
    return ".".join(str(part) for part in location) + ": " if location else ""


def _sentence(item: Any) -> str:
    if item["type"] in _SAID:
        return _SAID[item["type"]]
    if item["type"] != "extra_forbidden":
        return str(item["msg"]).removeprefix("Value error, ")
    given, known = str(item["loc"][-1]), _known(item["loc"][:-1])
    if _SECRETS.get(given) in known:
        return (
            f"a secret is not written into this file: set {_SECRETS[given]} to the name of the "
            "environment variable that holds it"
        )
    close = difflib.get_close_matches(given, known, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"unknown key: remove it or correct its spelling{meant}"


def _known(location: Location) -> list[str]:
    """The keys that may stand at a place of the configuration."""
    kinds: list[Any] = [Settings]
    for part in location:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return [name for kind in kinds for name in kind.model_fields]


def _inside(kind: type[BaseModel], part: int | str) -> Iterator[Any]:
    """The sections under a key. Names of entries and places in lists are no keys of their own."""
    field = kind.model_fields.get(str(part))
    if field is None:
        yield kind
    else:
        yield from _sections(field.annotation)


def _sections(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _sections(argument)


def _walk(node: yaml.Node | None, location: Location) -> Iterator[yaml.Node]:
    for part in location:
        key, node = _child(node, part)
        if key is None:
            return
        yield key


def _walk_by(node: yaml.Node | None, message: str) -> Iterator[yaml.Node]:
    """Follows the keys at the beginning of a message. The name of an entry may hold points."""
    rest = message.removeprefix("Value error, ")
    while isinstance(node, yaml.MappingNode):
        names = {str(key.value): (key, value) for key, value in node.value}
        name = next((n for n in names if rest.startswith((f"{n}.", f"{n}:", f"{n} "))), None)
        if name is None:
            return
        key, node = names[name]
        rest = rest[len(name) + 1 :]
        yield key


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None, None
