"""Other names for models and profiles, and patterns of names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

_STAR: Final = "*"
_ROUTED: Final = frozenset({"p2l", "auto"})
_PROFILE: Final = "p2l:"
# A prefix of routed names, for clients that accept only model names which begin with it.
CLAUDE: Final = "claude-"
_ROUTED_AS_CLAUDE: Final = f"{CLAUDE}p2l"
_NOTHING: Final[Mapping[str, str]] = {}


def is_routing(name: str) -> bool:
    """Whether a name asks for routing, by the rules of a profile or by the default ones."""
    return name in _ROUTED or name.startswith(_PROFILE)


def routed_name(name: str) -> str:
    """Turns claude-p2l and claude-p2l:PROFILE into p2l and p2l:PROFILE; other names stay
    unchanged."""
    bare = name.removeprefix(CLAUDE)
    return bare if name.startswith(_ROUTED_AS_CLAUDE) and is_routing(bare) else name


def is_pattern(alias: str) -> bool:
    """Whether an alias stands for many names: a star matches any characters, or none."""
    return _STAR in alias


def pattern_problem(pattern: str) -> str | None:
    """Why a pattern cannot be used; None where it can."""
    if _STAR * 2 in pattern:
        return "has two stars side by side: one stands for any number of characters"
    if pattern.startswith(_PROFILE):
        return "names that begin with p2l: are those of profiles, so no pattern is tried on them"
    return None


class Aliases:
    """Resolves the names that callers send. configured: name or pattern -> model or profile."""

    def __init__(self, configured: Mapping[str, str] = _NOTHING) -> None:
        self._names = {name: to for name, to in configured.items() if not is_pattern(name)}
        patterns = [(name.split(_STAR), to) for name, to in configured.items() if is_pattern(name)]
        # The longest pattern comes first; sorting keeps the order of patterns with equal lengths.
        self._patterns = sorted(patterns, key=lambda one: -sum(map(len, one[0])))

    def meant(self, name: str, known: Container[str]) -> str:
        """The name that an alias stands for, or the name itself where it is no alias. known: the
        names of models. No pattern is tried on them, nor on the names of profiles. Of several
        patterns, the one with the most characters besides stars wins; of equal ones, the first."""
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
    """Whether a name matches a pattern. pieces: the text before, between and after the stars. Each
    piece is matched as early as possible, so that there is no backtracking."""
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
