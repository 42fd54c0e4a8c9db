"""One model, one column: the names under which the same weights appear in different data sets.

Hosts and quantisations of the same weights are one model (the three hosts of Llama 3.1 405B).
Dated snapshots, base and chat versions, and prompt variants ("_concise") are different models.
alpaca_eval's `gpt4` and `claude` are left alone: their dates are not stated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


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
