"""Blanks: prompts of random tokens, of no source, on which models are drawn to their places.

They stand for what training has nothing of. Vocabularies keep the characters of a script beside
each other, so that the tokens of a blank are drawn from a window of the vocabulary: some blanks are
Chinese, some are word endings. Of each an unknown share is the token for what the vocabulary lacks,
as it is in text of a rare script.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

_WINDOW: Final = 512
_SHORTEST: Final = 4
_LONGEST: Final = 256


def blank_prompts(n: int, n_tokens: int, unknown: int | None, seed: int) -> list[list[int]]:
    """The token ids of n blanks. n_tokens: of the vocabulary. unknown: the id of its token for what
    it lacks, if it has one."""
    chance = np.random.default_rng(seed)
    return [_blank(chance, n_tokens, unknown) for _ in range(n)]


def _blank(chance: np.random.Generator, n_tokens: int, unknown: int | None) -> list[int]:
    size = int(np.exp(chance.uniform(np.log(_SHORTEST), np.log(_LONGEST))))
    window = min(_WINDOW, n_tokens)
    start = chance.integers(0, n_tokens - window + 1)
    ids = chance.integers(start, start + window, size=size)
    if unknown is not None:
        ids = np.where(chance.random(size) < chance.random() ** 2, unknown, ids)
    found: list[int] = ids.tolist()
    return found


def unknown_token(tokenizer: Path) -> int | None:
    """The id of the token for what the vocabulary lacks, from a tokenizer.json; None without
    one."""
    model = json.loads(tokenizer.read_bytes())["model"]
    vocabulary, name = model.get("vocab"), model.get("unk_token")
    found = vocabulary.get(name) if isinstance(vocabulary, dict) else None
    return None if found is None else int(found)
