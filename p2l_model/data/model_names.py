"""One model, one column: the names under which the same weights appear in different data sets.

Hosts and quantisations of the same weights are one model (the three hosts of Llama 3.1 405B), by
the rules of `placement.names`; an effort makes another column. Dated snapshots that a vendor sells
apart, base and chat versions, and prompt variants ("_concise") are different models. alpaca_eval's
`gpt4` and `claude` are left alone: their dates are not stated. The table has what no rule unites.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from p2l_model.placement.names import parse

# Words that the rules for published results take for noise, while test suites and vendors tell
# such models apart: prompt variants, and tuned models beside the base of the same name.
_VARIANT: Final = re.compile(r"[-_](concise|verbose|base|preview|exp|latest)(?=[-_.]|$)")
_TUNED: Final = re.compile(r"[-_](instruct|chat|hf|it)(?=[-_.]|$)")
_HAS_A_BASE: Final = re.compile(
    r"^(?:meta-)?llama-?[23]-|^mistral-7b|^mixtral|^gpt-?3\.?5|^yi-|^gemma-(?:2b|7b)|^falcon|^qwen-\d+b"
)


def canonical(name: str) -> str:
    """The name of the model's column; a name that is not in the table stands for itself."""
    return _table().get(name, name)


@cache
def _table() -> Mapping[str, str]:
    text = files("p2l_model.data").joinpath("aliases.json").read_text(encoding="utf-8")
    return invert(json.loads(text))


def invert(aliases: Mapping[str, list[str]]) -> dict[str, str]:
    """Makes alias -> canonical from canonical -> aliases. Raises ValueError where they
    contradict."""
    table: dict[str, str] = {}
    for name, others in aliases.items():
        for other in others:
            if other in table or other in aliases:
                raise ValueError(f"{other} stands for more than one model")
            table[other] = name
    return table


def unified(names: Iterable[str]) -> dict[str, str]:
    """The column of each name: names of one model at one effort have one column, under the
    shortest of these spellings, without vendor and host where there is one."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(_key(name), []).append(name)
    return {name: min(group, key=_clumsiness) for group in groups.values() for name in group}


def column_finder(known: Sequence[str]) -> Callable[[str], int]:
    """Returns a function that finds the index of a name among the known names, in any spelling of
    the same model and effort; -1 where there is none."""
    exact = {name: index for index, name in enumerate(known)}
    alike = {_key(name): index for index, name in enumerate(known)}

    def column(name: str) -> int:
        found = exact.get(name)
        return alike.get(_key(name), -1) if found is None else found

    return column


def columns(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """The index of each name among the known names; see column_finder."""
    return list(map(column_finder(known), names))


def bare(name: str) -> str:
    """The name without vendor and host."""
    return name.rpartition("/")[2].partition("@")[0]


def _clumsiness(name: str) -> tuple[bool, int, str]:
    return (bare(name) != name, len(name), name)


def _key(name: str) -> tuple[str, ...]:
    read, plain = parse(name), bare(name).lower()
    words = set(_VARIANT.findall(plain))
    if _HAS_A_BASE.match(plain) and _TUNED.search(plain):
        words.add("tuned")
    return (read.model, read.effort, *sorted(words))
