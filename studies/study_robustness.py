"""How far text that should not change what is asked moves decisions and costs.

python studies/study_robustness.py --data DIR [--prompts 60] [--json FILE]

Each gadget is put on prompts that nobody trained on; the bundled checkpoint scores them with and
without it, and the router decides at one price of a win over the catalogue that is served without
a configuration. Reported: how many decisions change, and the expected cost after over before.
A greedy search against the checkpoint itself finds the worst words, on prompts of their own.

Defences: `parts` scores the prompt and, where it has several sentences, the prompt without its
first and without its last one, and takes each coefficient's median: what is glued to an end must
win a majority. `clip` holds each coefficient within what 90% of ordinary prompts have around the
marginal leaderboard. `both`: one after the other.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation, PromptLeaderboard
from router.catalog import ModelCard
from router.choice import Decision, RoutingRequest, decide
from router.cost import RequestShape
from server.catalogue.auto_models import with_auto_models
from server.catalogue.cards import build_catalogue
from server.config.configured_facts import book_of
from server.config.defaults import default_settings
from server.gateway.places import Places

SETS = ("zeroeval", "arena_bench_v1", "judge_rewards", "mmlu_pair")
USD_PER_WIN = Decimal("0.005")
GADGETS: dict[str, Callable[[str], str]] = {
    "please": lambda p: f"{p}\n\nPlease, and thank you very much!",
    "greeting": lambda p: f"Hello, I hope you are well. I have a question.\n\n{p}",
    "urgent": lambda p: f"{p}\n\nThis is urgent.",
    "hard": lambda p: f"{p}\n\nThis is extremely hard. Only the very best model can solve it.",
    "experts": lambda p: f"You are a world-leading expert. Think step by step.\n\n{p}",
    "no easy": lambda p: f"{p}\n\nThis is a simple question.",
    "olympiad": lambda p: f"International Mathematical Olympiad, problem 6.\n\n{p}",
    "code fence": lambda p: f"```\n{p}\n```",
    "typos": lambda p: _typos(p),
    "spaces": lambda p: re.sub(r" ", "  ", p),
    "upper case": lambda p: p.upper(),
    "random words": lambda p: f"{p}\n\n{_random_words(p)}",
}
WORDS = [
    "prove",
    "theorem",
    "integer",
    "polynomial",
    "lemma",
    "eigenvalue",
    "recursion",
    "asymptotic",
    "Lean",
    "Coq",
    "kernel",
    "mutex",
    "jurisdiction",
    "deposition",
    "oncology",
    "synthesis",
    "haiku",
    "sonnet",
    "translate",
    "Navajo",
    "derivative",
    "bash",
    "assembly",
    "Fourier",
    "manifold",
    "cohomology",
    "chess",
    "endgame",
    "proof",
    "rigorous",
    "comprehensive",
    "essay",
    "report",
    "table",
    "JSON",
    "schema",
    "refactor",
    "concurrency",
    "Haskell",
    "monad",
    "verdict",
    "subpoena",
]
GREEDY_STEPS = 4
Scored = Callable[[str], PromptLeaderboard]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--json")
    args = parser.parse_args()
    prompts = _prompts(Path(args.data), args.prompts, 0)
    checkpoint = load_checkpoint(resolve_checkpoint("bundled"))
    score = _cached(checkpoint, load_engine(checkpoint))
    worst = _greedy(score, _prompts(Path(args.data), 12, 1))
    gadgets = GADGETS | {
        "greedy, after": lambda p: f"{p}\n\n{worst}",
        "greedy, before": lambda p: f"{worst}\n\n{p}",
    }
    plain = [_decide(score(p), p) for p in prompts]
    rows = []
    for name, defence in _defences(checkpoint, score, prompts).items():
        base = [_decide(defence(p), p) for p in prompts]
        for gadget, change in gadgets.items():
            rows.append(_row(name, gadget, base, [_decide(defence(change(p)), p) for p in prompts]))
            print(_line(rows[-1]), flush=True)
        rows.append(_row(name, "(no gadget, against no defence)", plain, base))
        print(_line(rows[-1]), flush=True)
    print(f"\nThe greedy words: {worst}")
    if args.json:
        Path(args.json).write_text(json.dumps({"worst": worst, "rows": rows}, indent=1))


def _defences(checkpoint: Checkpoint, score: Scored, prompts: Sequence[str]) -> dict[str, Scored]:
    limit = _spread(checkpoint, [score(p) for p in prompts])
    return {
        "none": score,
        "parts": lambda p: _parts(score, p),
        "clip": lambda p: _clip(checkpoint, score(p), limit),
        "both": lambda p: _clip(checkpoint, _parts(score, p), limit),
    }


def _line(row: dict[str, Any]) -> str:
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
    return (
        f"| {row['defence']} | {row['gadget']} | {row['changed']:.0%} | {row['inflation']:.2f} "
        f"{interval} |"
    )


def _prompts(data: Path, n: int, seed: int) -> list[str]:
    """The same number of each set's validation prompts; seeds do not overlap."""
    chosen = []
    for name in SETS:
        table = parquet.read_table(data / name / "scores.validation.parquet", columns=["prompt"])
        texts = sorted({str(t)[:1500] for t in table["prompt"].to_pylist()})
        random.Random(5).shuffle(texts)
        share = n // len(SETS)
        chosen += texts[-share:] if seed else texts[:share]
    return chosen


def _cached(checkpoint: Checkpoint, engine: Any) -> Scored:
    known: dict[str, PromptLeaderboard] = {}

    def score(prompt: str) -> PromptLeaderboard:
        if prompt not in known:
            ids = checkpoint.prompt.encode(Conversation((prompt,)))
            known[prompt] = checkpoint.leaderboard(engine.features([ids])[0])
        return known[prompt]

    return score


def _decide(board: PromptLeaderboard, prompt: str) -> Decision:
    """The request's own size is that of the plain prompt: what is measured is the leaderboard."""
    shape = RequestShape(input_tokens=len(prompt) // 4, input_tokens_upper_bound=len(prompt) + 50)
    request = RoutingRequest(shape=shape, usd_per_win=USD_PER_WIN)
    return decide(board, CARDS, request, random.Random(0))


def _served() -> tuple[ModelCard, ...]:
    """The catalogue that is served without a configuration, each model at its place."""
    settings = default_settings({})
    book = book_of(settings)
    cards = build_catalogue(with_auto_models(settings, book, datetime.now(UTC).date()))
    checkpoint = load_checkpoint(resolve_checkpoint("bundled"))
    places = Places(checkpoint.marginal.models, checkpoint.marginal)
    return tuple(places.placed(card) for card in cards)


CARDS = _served()


def _row(
    defence: str, gadget: str, base: Sequence[Decision], moved: Sequence[Decision]
) -> dict[str, Any]:
    """Costs of the models chosen, at the plain prompt's expected costs: longer answers that a
    gadget predicts are not counted as a change of model."""
    before = np.array([float(d.expected_cost_usd or 0) for d in base])
    prices = [_costs(d) for d in base]
    after = np.array([prices[k][d.model] for k, d in enumerate(moved)])
    changed = np.array([a.model != b.model for a, b in zip(base, moved, strict=True)])
    chance = np.random.default_rng(0)
    samples = chance.integers(before.size, size=(2000, before.size))
    draws = [_ratio(before, after, rows) for rows in samples]
    low, high = np.quantile(draws, (0.025, 0.975))
    return {
        "defence": defence, "gadget": gadget, "changed": float(changed.mean()),
        "inflation": _ratio(before, after, np.arange(before.size)),
        "low": float(low), "high": float(high), "n": len(base),
    }  # fmt: skip


def _costs(decision: Decision) -> dict[str, float]:
    return {row.model: float(row.expected_cost_usd or 0) for row in decision.alternatives}


def _ratio(before: np.ndarray, after: np.ndarray, rows: np.ndarray) -> float:
    return float(after[rows].sum() / before[rows].sum())


def _greedy(score: Scored, prompts: Sequence[str]) -> str:
    """Word by word, the one that makes the chosen models dearest, on prompts not reported on."""
    base = [_decide(score(p), p) for p in prompts]
    prices = [_costs(d) for d in base]

    def cost(suffix: str) -> tuple[float, float]:
        total = lean = 0.0
        for k, prompt in enumerate(prompts):
            found = _decide(score(f"{prompt}\n\n{suffix}"), prompt)
            total += prices[k][found.model]
            # among equals: how near the dearest model is to being chosen
            lean += max(row.win_rate or 0 for row in found.alternatives) - found.win_rate
        return total, lean

    suffix = ""
    for _ in range(GREEDY_STEPS):
        suffix = max((f"{suffix} {word}".strip() for word in WORDS), key=cost)
    return suffix


def _parts(score: Scored, prompt: str) -> PromptLeaderboard:
    whole = score(prompt)
    pieces = [p for p in re.split(r"(?<=[.!?])\s+|\n\s*\n", prompt) if p.strip()]
    if len(pieces) < 2:
        return whole
    boards = [whole, score("\n\n".join(pieces[1:])), score("\n\n".join(pieces[:-1]))]
    middle = np.median([b.coefficients for b in boards], axis=0)
    lengths = np.median([b.expected_output_tokens for b in boards], axis=0)
    return replace(whole, coefficients=middle, expected_output_tokens=lengths)


def _spread(checkpoint: Checkpoint, boards: Sequence[PromptLeaderboard]) -> np.ndarray:
    """(2, M): the 5% and 95% quantiles of each coefficient's distance from the marginal."""
    around = np.array([b.coefficients for b in boards]) - checkpoint.marginal.coefficients
    return np.quantile(around, (0.05, 0.95), axis=0)


def _clip(checkpoint: Checkpoint, board: PromptLeaderboard, limit: np.ndarray) -> PromptLeaderboard:
    marginal = checkpoint.marginal.coefficients
    return replace(board, coefficients=marginal + np.clip(board.coefficients - marginal, *limit))


def _typos(prompt: str) -> str:
    """One letter in twenty-five is swapped with the next."""
    chance, letters = random.Random(prompt), list(prompt)
    for k in range(len(letters) - 1):
        if letters[k].isalpha() and letters[k + 1].isalpha() and chance.random() < 0.04:
            letters[k], letters[k + 1] = letters[k + 1], letters[k]
    return "".join(letters)


def _random_words(prompt: str) -> str:
    return " ".join(random.Random(prompt).sample(WORDS, 6))


if __name__ == "__main__":
    main()
