"""What a model's name, date and price say about its strength, as numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from p2l_model.placement.names import Name

# Words in a name that say which of a vendor's models it is: its size, or what it was made for.
TIERS: Final = (
    "mini", "nano", "lite", "flash", "pro", "max", "ultra", "haiku", "sonnet", "opus", "fable",
    "mythos", "small", "medium", "large", "turbo", "air", "fast", "codex", "coder", "code", "luna",
    "terra", "sol", "plus", "tiny", "micro", "super", "scout", "maverick", "vl", "vision", "exp",
    "distill", "search", "next", "omni",
)  # fmt: skip
# Names that differ although one family of models bears them.
_RELATED: Final = {
    "chatgpt": "gpt", "o": "gpt", "mixtral": "mistral", "ministral": "mistral",
    "codestral": "mistral", "magistral": "mistral", "devstral": "mistral", "pixtral": "mistral",
    "mathstral": "mistral", "open": "mistral", "qwq": "qwen", "vicuna": "llama", "alpaca": "llama",
    "koala": "llama", "c": "command", "aya": "command",
}  # fmt: skip
# Where OpenAI's o-series stands among the versions of gpt.
_O_SERIES: Final = {"o1": 4.6, "o3": 4.8, "o4": 4.9}
_FAMILY: Final = re.compile(r"^[a-z]+")
_SIZE: Final = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)([bt])(?=-|$)")
_NO_VERSION: Final = re.compile(r"-20\d\d-\d\d-\d\d|-\d{4}(?=-|$)")
_VERSION: Final = re.compile(r"(\d+)(?:[.-](\d{1,2})(?!\d))?")
_MONTH: Final = re.compile(r"-(2[3-9])(0[1-9]|1[0-2])(?=-|$)")
_HIGHEST_VERSION: Final = 30.0


@dataclass(frozen=True, slots=True)
class Features:
    """family: of the vendor's models. version: as in the name, None without one. log_size: natural
    logarithm of the parameters in billions, None where the name does not say. tiers: of TIERS.
    month: of the release, in years, where the name has one."""

    family: str
    version: float | None
    log_size: float | None
    tiers: tuple[str, ...]
    month: float | None


@lru_cache(maxsize=8192)
def features(model: str) -> Features:
    """Reads the features of a model. model: as in Name.model."""
    first = _FAMILY.match(model)
    word = first[0] if first else model[:3]
    size = _SIZE.search(model)
    month = _MONTH.search(model)
    return Features(
        family=_RELATED.get(word, word),
        version=_version(model),
        log_size=None if size is None else _log_size(size),
        tiers=tuple(
            tier for tier in TIERS if re.search(rf"(?<![a-z]){tier}(?![a-z])", model) is not None
        ),
        month=None if month is None else 2000 + int(month[1]) + (int(month[2]) - 0.5) / 12,
    )


def released_in(name: Name, released: date | None = None) -> float | None:
    """The release in years (2026.5 is July 2026): as given, else as in the name, else None."""
    day = released or name.dated
    return features(name.model).month if day is None else years(day)


def years(day: date) -> float:
    """A day in years."""
    return day.year + (day.timetuple().tm_yday - 1) / 365


def _version(model: str) -> float | None:
    if model[:2] in _O_SERIES:
        return _O_SERIES[model[:2]]
    found = _VERSION.search(_NO_VERSION.sub("", _SIZE.sub("", model)))
    if found is None:
        return None
    version = float(found[1]) + (float(f"0.{found[2]}") if found[2] else 0.0)
    return version if version <= _HIGHEST_VERSION else None


def _log_size(found: re.Match[str]) -> float:
    experts, amount, unit = found.groups()
    billions = float(amount) * (int(experts) if experts else 1) * (1000 if unit == "t" else 1)
    return math.log(billions)
