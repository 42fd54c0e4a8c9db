"""Votes that a small model can learn: the letter of a prompt decides who wins."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """Nothing to see."""


def write_votes(path: Path, n_prompts: int, seed: int) -> Path:
    """On prompts of a's `x` wins, on prompts of z's `y` does; `w` always loses. An odd and an even
    seed have no prompt in common."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(n_prompts):
        letter = chance.choice("az")
        prompt = " ".join(
            letter * chance.randint(1, 3) for _ in range(2 * chance.randint(1, 4) + seed % 2)
        )
        best = "x" if letter == "a" else "y"
        for other in {"x", "y", "w"} - {best}:
            sides = [best, other]
            chance.shuffle(sides)
            winner = "model_a" if (sides[0] == best) == (chance.random() < 0.9) else "model_b"
            rows.append({"prompt": prompt, "model_a": sides[0], "model_b": sides[1],
                         "winner": winner, "category": letter,
                         "output_tokens_a": 100, "output_tokens_b": 200})  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path
