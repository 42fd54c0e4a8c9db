"""Keys of the configuration that have a new name. The old name works for one more version."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

_LOG: Final = logging.getLogger("p2l_router.config")
# Section -> old name -> new name. A glossary word has one name everywhere (docs/glossary.md).
RENAMED: Final[Mapping[tuple[str, ...], Mapping[str, str]]] = {
    ("routing",): {"personalise": "tastes"},
}


class BothNamesError(ValueError):
    """A key is given under its old name and under its new one."""


def with_new_names(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The configuration with today's names, with a warning for each old one. source: the file's
    name. Raises BothNamesError."""
    found = dict(data)
    for section, names in RENAMED.items():
        inside = _copied(found, section)
        for old in names.keys() & inside.keys():
            was, now = (".".join((*section, name)) for name in (old, names[old]))
            if names[old] in inside:
                raise BothNamesError(f"{was} is the old name of {now}: give {now} alone")
            inside[names[old]] = inside.pop(old)
            said = "%s: %s is now called %s; the old name will not work in the next version"
            _LOG.warning(said, source, was, now)
    return found


def _copied(found: dict[str, Any], section: tuple[str, ...]) -> dict[str, Any]:
    """A copy of a section, put in its place; empty where the file lacks it."""
    inside = found
    for name in section:
        held = inside.get(name)
        if not isinstance(held, dict):
            return {}
        inside[name] = dict(held)
        inside = inside[name]
    return inside
