"""Keys of the configuration that have moved. The old ones work for one more version."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

_LOG: Final = logging.getLogger("p2l_router.config")
Path = tuple[str, ...]
_TASTES: Final = {
    "min_votes": ("learning", "min_own_answers"),
    "every_s": ("learning", "every_s"),
    "keys": ("learning", "own_layers_of"),
}
# The old section -> its keys -> where they are now. True, false or nothing in place of the section
# turned on or off what needs no setting any more.
MOVED: Final[Mapping[Path, Mapping[str, Path]]] = {
    ("routing", "tastes"): _TASTES,
    ("routing", "personalise"): _TASTES,
}
_NO_SWITCH: Final = (
    "%s: %s does nothing any more, and will be an error in the next version: what a key says of "
    "answers moves its own requests wherever learning.local is on; learning.own_layers_of names "
    "the keys for which it does"
)
_HAS_MOVED: Final = "%s: %s is now %s; the old name will not work in the next version"


class BothNamesError(ValueError):
    """A key is given under its old name and under its new one."""


def with_new_names(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The configuration with today's names, with a warning for each old one. source: the file's
    name. Raises BothNamesError."""
    found = dict(data)
    for (*section, name), moved in MOVED.items():
        inside, was = _copied(found, section), ".".join((*section, name))
        old = inside.get(name)
        if name in inside and (not old or old is True):
            del inside[name]
            _LOG.warning(_NO_SWITCH, source, was)
        elif isinstance(old, dict):
            for key in (key for key in moved if key in old):
                _move(found, f"{was}.{key}", old[key], moved[key])
                _LOG.warning(_HAS_MOVED, source, f"{was}.{key}", ".".join(moved[key]))
            inside[name] = {key: value for key, value in old.items() if key not in moved}
            if not inside[name]:
                del inside[name]
    return found


def _move(found: dict[str, Any], was: str, value: object, path: Path) -> None:
    """Puts a value in its new place. was: the old name."""
    *section, name = path
    if found.get(section[0]) is None:
        found[section[0]] = {}
    inside, now = _copied(found, section), ".".join(path)
    if name in inside:
        raise BothNamesError(f"{was} is the old name of {now}: give {now} alone")
    inside[name] = value


def _copied(found: dict[str, Any], section: Sequence[str]) -> dict[str, Any]:
    """A copy of a section, put in its place; empty where the file lacks it."""
    inside = found
    for name in section:
        held = inside.get(name)
        if not isinstance(held, dict):
            return {}
        inside[name] = dict(held)
        inside = inside[name]
    return inside
