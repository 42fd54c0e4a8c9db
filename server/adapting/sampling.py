"""Removes sampling parameters that a model refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.adapting.draft import Draft
from server.model_facts import Effort, ModelFacts

# field of a request -> (cell of Sampling, the value that asks for nothing)
_CELLS: Final[Mapping[str, tuple[str, Any]]] = {
    "temperature": ("temperature", 1),
    "top_p": ("top_p", 1),
    "top_k": ("top_k", None),
    "frequency_penalty": ("penalties", 0),
    "presence_penalty": ("penalties", 0),
    "logprobs": ("logprobs", False),
    "top_logprobs": ("logprobs", 0),
    "logit_bias": ("logit_bias", {}),
    "stop": ("stop", []),
}
_FIELDS: Final = frozenset(_CELLS)


def adapt_sampling(draft: Draft, facts: ModelFacts, effort: Effort | None) -> None:
    """Removes what the model refuses at this effort (None: at its default), and one of temperature
    and top_p where it does not accept both; lowers a temperature that is too high."""
    if facts.known == "nothing" or _FIELDS.isdisjoint(draft.body):
        return
    for name, (cell, default) in _CELLS.items():
        if name in draft.body and facts.refuses(cell, effort):
            draft.drop(name, named=draft.get(name) != default)
    _one_of_both(draft, facts)
    temperature = draft.get("temperature")
    if _is_number(temperature) and temperature > facts.sampling.most_temperature:
        draft.put("temperature", facts.sampling.most_temperature)


def _one_of_both(draft: Draft, facts: ModelFacts) -> None:
    if facts.sampling.both or draft.get("temperature") is None or draft.get("top_p") is None:
        return
    if draft.get("top_p") != 1 and draft.get("temperature") == 1:
        draft.drop("temperature", named=False)
    else:
        draft.drop("top_p", named=draft.get("top_p") != 1)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
