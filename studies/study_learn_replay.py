"""How good the choice is after some dollars: real graded answers with their real costs, replayed as
if they were bought by `learn`.

The models are the eight strongest by public facts of those that answered nearly everything. Half of
the prompts can be bought, in random order and for all models alike; what is chosen is judged on the
other half. Quality regret: how far the chosen model is below the best one there. Saving: the
cheapest model that has at least 97% of the best one's mean, among the bought answers, against the
one that is best there: what it costs less, and how much of the quality it has, both on the other
half. Baseline without any answer: the strongest model by public facts. 95% intervals over 400
splits; sums that buy fewer than three prompts in a tenth of the splits are left out.

    .venv/bin/python studies/study_learn_replay.py DATA/ctala_es DATA/mcpmark DATA/judge_rewards
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from p2l_model.data.tables import read_columns
from p2l_model.placement.place import bundled_placer
from p2l_model.types import FloatArray
from server.offline.learn.standing import settled

N_SPLITS = 400
DOLLARS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SHARE = 0.97
COMPLETE = 0.95
N_MODELS = 8


def table(folder: Path) -> tuple[list[str], FloatArray, FloatArray]:
    """(models, scores (P, M), USD (P, M)) of the prompts that all kept models answered."""
    columns = read_columns(folder / "scores.train.parquet")
    prompts = {one: place for place, one in enumerate(dict.fromkeys(columns["prompt_id"]))}
    models = {one: place for place, one in enumerate(dict.fromkeys(columns["model"]))}
    score = np.full((len(prompts), len(models)), np.nan)
    usd = np.full((len(prompts), len(models)), np.nan)
    keys = zip(columns["prompt_id"], columns["model"], columns["score"], columns["cost_usd"],
               strict=True)  # fmt: skip
    for prompt, model, value, cost in keys:
        if value is not None and cost is not None:
            score[prompts[prompt], models[model]] = value
            usd[prompts[prompt], models[model]] = cost
    known = np.isfinite(score) & np.isfinite(usd)
    placer, names = bundled_placer(), list(models)
    enough = [place for place in range(len(names)) if known[:, place].mean() >= COMPLETE]
    enough.sort(key=lambda place: -placer.place(names[place]).mean)
    kept = np.array(enough[:N_MODELS])
    whole = known[:, kept].all(axis=1)
    return [names[place] for place in kept], score[whole][:, kept], usd[whole][:, kept]


def chosen(score: FloatArray, usd: FloatArray) -> tuple[int, int]:
    """(the best model, the cheapest with SHARE of its mean) by bought answers."""
    mean, cost = score.mean(axis=0), usd.mean(axis=0)
    best = int(np.lexsort((cost, -mean))[0])
    enough = np.flatnonzero(mean >= SHARE * mean[best])
    return best, int(enough[np.argmin(cost[enough])])


def told(score: FloatArray, usd: FloatArray, pair: tuple[int, int]) -> tuple[float, float, float]:
    """(quality regret, saving, share of the best one's quality) on the other half."""
    mean, cost = score.mean(axis=0), usd.mean(axis=0)
    best, cheap = pair
    top = float(mean.max())
    reference = int(np.argmax(mean))
    saving = 1 - cost[cheap] / cost[reference] if cost[reference] > 0 else 0.0
    return top - float(mean[best]), float(saving), float(mean[cheap] / top)


def interval(values: list[float]) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{np.mean(values):+.3f} [{low:+.3f}, {high:+.3f}]"


def study(folder: Path) -> None:
    names, score, usd = table(folder)
    n, m = score.shape
    print(f"\n{folder.name}: {n} prompts, {m} models, all answers {usd.sum():.2f} USD")
    print(", ".join(names))
    each = usd.sum(axis=1).mean()
    rows: dict[float, list[tuple[float, float, float]]] = {}
    by_facts, n_bought = [], {}
    for seed in range(N_SPLITS):
        order = np.random.default_rng(seed).permutation(n)
        mine, other = order[: n // 2], order[n // 2 :]
        spent = np.cumsum(usd[mine].sum(axis=1))
        by_facts.append(told(score[other], usd[other], (0, 0)))
        for dollars in DOLLARS:
            bought = int(np.searchsorted(spent, dollars, side="right"))
            if 3 <= bought < len(mine):
                pair = chosen(score[mine[:bought]], usd[mine[:bought]])
                rows.setdefault(dollars, []).append(told(score[other], usd[other], pair))
                n_bought.setdefault(dollars, []).append(bought)
        pair = chosen(score[mine], usd[mine])
        rows.setdefault(np.inf, []).append(told(score[other], usd[other], pair))
        n_bought.setdefault(np.inf, []).append(len(mine))
    guess = float(score.mean(axis=0).max() - score.mean())
    print(f"a model at random loses {guess:.3f}; one prompt for all models {each:.3f} USD")
    regret, saving, quality = (interval(list(v)) for v in zip(*by_facts, strict=True))
    print(f"0 USD (facts: {names[0]}): regret {regret}; costs less {saving}; quality {quality}")
    for dollars, values in sorted(rows.items()):
        if len(values) < 0.9 * N_SPLITS:
            continue
        regret, saving, quality = (interval(list(v)) for v in zip(*values, strict=True))
        print(f"{dollars:g} USD, {np.mean(n_bought[dollars]):.0f} prompts: regret {regret}; "
              f"costs less {saving}; quality {quality}")  # fmt: skip
    stopped(names, score, usd)


def stopped(names: list[str], score: FloatArray, usd: FloatArray) -> None:
    """What stopping early saves, over one order of all prompts."""
    out: set[str] = set()
    spent = 0.0
    scores: dict[str, dict[str, float]] = {name: {} for name in names}
    for prompt in np.random.default_rng(0).permutation(len(score)):
        for place, name in enumerate(names):
            if name not in out:
                spent += float(usd[prompt, place])
                scores[name][str(prompt)] = float(score[prompt, place])
        out |= settled(scores)
    print(f"stopping early: {spent:.2f} of {usd.sum():.2f} USD, {len(out)} models settled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path)
    for folder in parser.parse_args().sets:
        study(folder)


if __name__ == "__main__":
    main()
