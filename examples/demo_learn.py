"""`make demo-learn`: what `p2l-router learn` does, from the plan to the table, without a key.

The models are played by a program on this machine (tests/support/known_models.py). Their strengths
in each kind of prompt are known, and so are the judge's weaknesses: it likes long answers, and the
one that it sees first. So the last table can show the truth beside what was learnt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from known_models import (
    MODELS,
    KnownModels,
    Leaning,
    config,
    prompts,
    quality,
    write_prompts,
)

N_PROMPTS = 60
SPEND = "2"
LEANING = Leaning(length=1.5, position=0.5)


def p2l_router(*words: str) -> None:
    """Runs the command as a user would, and shows it."""
    print(f"\n$ p2l-router {' '.join(words)}\n", flush=True)
    program = str(Path(sys.executable).parent / "p2l-router")
    environ = {**os.environ, "DEMO_KEY": "unused"}
    subprocess.run([program, *words], check=True, env=environ)  # noqa: S603


def truth(reference: str) -> dict[str, float]:
    """The mean scores of the models against the reference, as an unbiased judge would give them."""
    by_name = {one.name: one for one in MODELS}
    found = {}
    for name, model in by_name.items():
        scores = [
            LEANING.score(quality(model, text), quality(by_name[reference], text))
            for _, text in prompts(N_PROMPTS)
        ]
        found[name] = 0.5 if name == reference else sum(scores) / len(scores)
    return found


def compare(out: Path) -> None:
    """Prints what was learnt beside the truth."""
    grades = [json.loads(line) for line in (out / "grades.jsonl").read_text().splitlines()]
    plan = json.loads((out / "plan.json").read_text())
    true = truth(plan["reference"])
    print(f"\n{'model':20}{'truth':>8}{'learnt':>8}{'judge alone':>13}")
    for name in sorted(true, key=lambda one: -true[one]):
        own = [row for row in grades if row["catalogue_name"] == name]
        if own:
            learnt, raw = (sum(r[k] for r in own) / len(own) for k in ("score", "score_raw"))
            print(f"{name:20}{true[name]:8.2f}{learnt:8.2f}{raw:13.2f}")
    print(f"\n(scores against {plan['reference']}; the judge alone likes long answers)")


def main() -> None:
    """Runs the demonstration in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, KnownModels(LEANING) as provider:
        place = Path(folder)
        text = config(provider.base_url, place / "ledger.db").replace("MAIN_KEY", "DEMO_KEY")
        (place / "config.yaml").write_text(text)
        write_prompts(place / "prompts.jsonl", N_PROMPTS)
        os.chdir(place)
        asked = ["--prompts", "prompts.jsonl", "--spend", SPEND, "--judge", "glm-5.3"]
        asked += ["--models", ",".join(one.name for one in MODELS), "--config", "config.yaml"]
        p2l_router("learn", *asked, "--dry-run")
        p2l_router("learn", *asked, "--out", "learnt", "--apply")
        compare(place / "learnt")
        p2l_router("spend", "--by", "key", "--config", "config.yaml")


if __name__ == "__main__":
    main()
