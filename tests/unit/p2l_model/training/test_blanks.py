"""Prompts of random tokens, on which models are drawn to their places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from p2l_model.training.blanks import blank_prompts, unknown_token


def test_a_blank_is_of_one_part_of_the_vocabulary() -> None:
    blanks = blank_prompts(300, 30_000, 100, seed=0)
    assert blanks == blank_prompts(300, 30_000, 100, seed=0), "the same for the same seed"
    for ids in blanks:
        assert 4 <= len(ids) <= 256
        known = [one for one in ids if one != 100]
        assert max(known, default=0) - min(known, default=0) < 512
        assert all(0 <= one < 30_000 for one in ids)
    unknown = np.array([np.mean([one == 100 for one in ids]) for ids in blanks])
    assert unknown.min() == 0.0
    assert unknown.max() > 0.8
    starts = [min(ids) for ids in blank_prompts(300, 30_000, None, seed=0)]
    assert min(starts) < 2_000
    assert max(starts) > 28_000


def test_a_small_vocabulary_is_one_window() -> None:
    assert all(max(ids) < 20 for ids in blank_prompts(10, 20, None, seed=1))


def test_the_unknown_token_is_found_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {"a": 0, "[UNK]": 7}, "unk_token": "[UNK]"}}))
    assert unknown_token(path) == 7
    path.write_text(json.dumps({"model": {"vocab": {"a": 0}, "unk_token": None}}))
    assert unknown_token(path) is None
