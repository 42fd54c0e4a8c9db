"""Other names for models and profiles, and patterns of names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

_STAR: Final = "*"
_ROUTED: Final = frozenset({"p2l", "auto"})
_PROFILE: Final = "p2l:"
# Before a routed name, for clients that take models of this beginning alone.
CLAUDE: Final = "claude-"
_ROUTED_AS_CLAUDE: Final = f"{CLAUDE}p2l"
_NOTHING: Final[Mapping[str, str]] = {}


def is_routing(name: str) -> bool:
    """Whether a model is to be chosen, by the rules of a profile or by those of all."""
    return name in _ROUTED or name.startswith(_PROFILE)


def routed_name(name: str) -> str:
    """claude-p2l and claude-p2l:PROFILE as p2l and p2l:PROFILE; any other name as it is."""
    bare = name.removeprefix(CLAUDE)
    return bare if name.startswith(_ROUTED_AS_CLAUDE) and is_routing(bare) else name


def is_pattern(alias: str) -> bool:
    """Whether it stands for many names: a star is for any characters, or for none."""
    return _STAR in alias


def pattern_problem(pattern: str) -> str | None:
    """Why it cannot be used; None where it can."""
    if _STAR * 2 in pattern:
        return "has two stars side by side: one stands for any number of characters"
    if pattern.startswith(_PROFILE):
        return "names that begin with p2l: are those of profiles, so no pattern is tried on them"
    return None


class Aliases:
    """What the names that callers send mean. configured: name or pattern -> model or profile."""

    def __init__(self, configured: Mapping[str, str] = _NOTHING) -> None:
        self._names = {name: to for name, to in configured.items() if not is_pattern(name)}
        patterns = [(name.split(_STAR), to) for name, to in configured.items() if is_pattern(name)]
        # the longest first: sorting leaves those of the same length in their order
        self._patterns = sorted(patterns, key=lambda one: -sum(map(len, one[0])))

    def meant(self, name: str, known: Container[str]) -> str:
        """What a name stands for, itself where it is no alias. known: the names of models; on them,
        and on those of profiles, no pattern is tried. Of several patterns, the one with the most
        characters besides its stars counts; of equal ones, the first."""
        exact = self._names.get(name)
        if exact is not None:
            return routed_name(exact)
        if name in known:
            return name
        bare = routed_name(name)
        if self._patterns and not is_routing(bare):
            for pieces, target in self._patterns:
                if _fits(bare, pieces):
                    return routed_name(target)
        return bare


def _fits(name: str, pieces: list[str]) -> bool:
    """pieces: what stands before, between and after the stars. It takes each as soon as it
    comes, so nothing is tried twice."""
    first, last = pieces[0], pieces[-1]
    if len(name) < len(first) + len(last):
        return False
    if not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for piece in pieces[1:-1]:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
