"""Generates the reference page of the configuration from its models (`make docs`)."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from server.config.settings import Settings

_HEAD: Final = """# Configuration

One YAML file, named by `--config` or `P2L_CONFIG`. Unknown keys are errors that name their line. A
secret is given as the name of an environment variable (`..._env`); where NAME is not set, NAME_FILE
may name a file that holds it. `p2l-router check --config FILE` says what a file amounts to, and
SIGHUP reads it again while serving. The log then names the settings that have changed, and those
that need a restart: `redis`, `telemetry`, where `storage` is, and the `limits` of connections.

This page is generated (`make docs`); the shortest file that serves is
[deploy/config.example.yaml](../deploy/config.example.yaml).
"""
_NAMES: Final = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS: Final = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}
# `name: meaning.` or `one, other: meaning.`, at the start of the docstring or of a sentence
_DEFINITION: Final = re.compile(r"(?:^|(?<=\. ))(\w+(?:, \w+)*): ")


def reference() -> str:
    """The reference page, in Markdown."""
    parts, known = [_HEAD], dict[type[BaseModel], str]()
    for path, model in _sections(Settings, ""):
        if model in known:
            parts.append(f"## `{path.rstrip('.')}`\n\nAs `{known[model].rstrip('.')}`.\n")
        else:
            known[model] = path
            parts.append(_section(path, model))
    return "\n".join(parts)


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        for inner, suffix in _models_in(field.annotation):
            yield from _sections(inner, f"{path}{name}{suffix}.")


def _models_in(annotation: Any, suffix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, suffix
        return
    origin = get_origin(annotation)
    further = ".NAME" if origin is dict else "[]" if origin is list else ""
    for argument in get_args(annotation):
        yield from _models_in(argument, suffix + further)


def _section(path: str, model: type[BaseModel]) -> str:
    prose, meanings = _read(model)
    title = path.rstrip(".") or "the file"
    lines = [f"## {'`' + title + '`' if path else 'The file'}", "", prose, ""]
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        cells = (f"`{name}`", _type(field), _default(field), meanings.get(name, ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _read(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """The docstring's prose, and the meanings that it gives for single keys."""
    base = model.__mro__[1]
    inherited = issubclass(base, BaseModel) and bool(base.model_fields)
    meanings = _read(base)[1] if inherited else {}
    pieces = _DEFINITION.split(" ".join((model.__doc__ or "").split()))
    prose = pieces[0]
    for names, meaning in zip(pieces[1::2], pieces[2::2], strict=True):
        known = names.split(", ")
        if all(name in model.model_fields for name in known):
            meanings |= dict.fromkeys(known, meaning.strip())
        else:
            prose += f"{names}: {meaning}"
    return prose.strip(), meanings


def _type(field: FieldInfo) -> str:
    return _shown(field.annotation, field.metadata)


def _shown(annotation: Any, metadata: typing.Sequence[Any] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        metadata = annotation.__metadata__
        titles = [one.title for one in metadata if isinstance(one, FieldInfo) and one.title]
        return titles[0] + _bounds(metadata) if titles else _shown(arguments[0], metadata)
    if origin in (typing.Union, types.UnionType):
        some = [_shown(one, metadata) for one in arguments if one is not type(None)]
        return " or ".join(some)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (list, frozenset, tuple):
        return f"list of {_shown(arguments[0])}"
    if origin is dict:
        names = _shown(arguments[0]) if get_origin(arguments[0]) is Literal else "name"
        return f"{names}: {_shown(arguments[1])}"
    return _plain(annotation) + _bounds(metadata)


def _plain(annotation: Any) -> str:
    if not isinstance(annotation, type):
        return "anything"
    if issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    if issubclass(annotation, BaseModel):
        return "see below"
    if issubclass(annotation, Decimal):
        return "USD"
    return _NAMES.get(
        annotation, {"Path": "path", "date": "day"}.get(annotation.__name__, "date and time")
    )


def _bounds(metadata: typing.Sequence[Any]) -> str:
    said = [
        f" {sign} {getattr(constraint, attribute):g}"
        for constraint in _flat(metadata)
        for kind, (attribute, sign) in _BOUNDS.items()
        if isinstance(constraint, kind)
    ]
    return ",".join(said)


def _flat(metadata: typing.Sequence[Any]) -> Iterator[Any]:
    for one in metadata:
        yield from one.metadata if isinstance(one, FieldInfo) else (one,)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        made = field.get_default(call_default_factory=True, validated_data={})
        return "" if isinstance(made, BaseModel) else f"`{made}`"
    value = field.default
    if value is PydanticUndefined:
        return "must be given"
    if value is None:
        return "none"
    if isinstance(value, Enum):
        value = value.value
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(reference(), end="")
