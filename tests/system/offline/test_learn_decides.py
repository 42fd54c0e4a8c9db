"""5 USD, 200 prompts, eight models at the prices of the day, a judge that likes length and the
first place: what is learnt is near the truth, and leads to good choices."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from command_line import p2l_router
from known_models import (
    KINDS,
    MODELS,
    KnownModels,
    Leaning,
    config,
    prompts,
    quality,
    write_prompts,
)

LEANING = Leaning(length=1.5, position=0.5)


def truth(reference: str, n: int) -> dict[tuple[str, str], float]:
    """The unbiased mean scores against the reference, by model and kind, "" for all kinds."""
    by_name = {one.name: one for one in MODELS}
    found: dict[tuple[str, str], list[float]] = {}
    for kind, text in prompts(n):
        other = quality(by_name[reference], text)
        for name, model in by_name.items():
            score = LEANING.score(quality(model, text), other) if name != reference else 0.5
            found.setdefault((name, kind), []).append(score)
            found.setdefault((name, ""), []).append(score)
    return {key: float(np.mean(values)) for key, values in found.items()}


@pytest.mark.slow
def test_five_dollars_lead_to_good_choices(tmp_path: Path) -> None:
    with KnownModels(LEANING) as provider:
        configured = tmp_path / "config.yaml"
        configured.write_text(config(provider.base_url, tmp_path / "ledger.db"))
        done = p2l_router(
            "learn", "--json", "--spend", "5", "--judge", "glm-5.3", "--at-once", "16",
            "--config", str(configured), "--out", str(tmp_path / "out"),
            "--prompts", str(write_prompts(tmp_path / "prompts.jsonl", 200)),
            "--models", ",".join(one.name for one in MODELS),
            environ={**os.environ, "MAIN_KEY": "unused"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert Decimal(str(summary["spent_usd"])) <= 5
    reference = summary["reference"]
    true = truth(reference, 200)
    found = {one["model"]: one for one in summary["models"] if one["model"] != reference}
    plain = [found[name]["scores"]["judged"]["score"] - true[name, ""] for name in found]
    raw = [found[name]["judged_raw"] - true[name, ""] for name in found]
    # The longest answers of the eight are not of the best: their gain is taken out.
    assert np.sqrt(np.mean(np.square(plain))) < 0.6 * np.sqrt(np.mean(np.square(raw)))
    assert max(map(abs, plain)) < 0.09
    (bias,) = summary["biases"]
    assert bias["length_ci95"][0] > 0.3
    assert bias["position_ci95"][0] > 0.1

    names = [one.name for one in MODELS]
    best = max(names, key=lambda name: true[name, ""])
    assert true[best, ""] - true[summary["models"][0]["model"], ""] <= 0.01
    found_in = tmp_path / "out" / "grades.jsonl"
    rows = [json.loads(line) for line in found_in.read_text().splitlines()]
    lost = []
    for kind in KINDS:
        means = {
            name: np.mean([row["score"] for row in rows
                           if row["catalogue_name"] == name and row["category"] == kind])
            for name in names
        }  # fmt: skip
        choice = max(means, key=lambda name: float(means[name]))
        lost.append(max(true[name, kind] for name in names) - true[choice, kind])
    assert np.mean(lost) < 0.04
    # Guessing would have lost this much.
    assert (
        np.mean([max(true[n, k] for n in names) - true[n, k] for k in KINDS for n in names]) > 0.2
    )
