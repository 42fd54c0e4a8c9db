"""What a job costs with sessions, without them, with a model that never changes, and with the best
single model: on jobs of real agents.

python studies/study_sessions.py [--copies 10] [--json FILE] [--markdown] [--picture FILE.svg]

`studies/jobs/*.jsonl` are jobs of Claude Code, Codex, opencode and qwen-code, recorded without
their texts by `make record-jobs`. The agents, their requests and the growth of their prompts are
real. What the providers said was played by script, so three things are made here:

- answers are five times as long as the script's, and each takes ten seconds;
- a person goes on twice in the same conversation, after a minute or after ten, with another task
  that takes eight requests;
- each task has a leaderboard of its own: the strengths below, with a standard deviation of 0.5 for
  each model, since the bundled checkpoint was trained before these models existed.

`p2l-router simulate --sessions` shows the recorded jobs as they are.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from p2l_model.types import PreferenceFamily
from server.build import settings_from
from server.commands.simulate_sessions import print_comparison
from server.offline.jobs.comparison import Comparison, Terms, compare, scene_of
from server.offline.jobs.line import JobRequest, RecordedBoard, read_jobs
from server.offline.jobs.runs import Billing
from server.offline.jobs.turns import Conversations

JOBS: Final = Path(__file__).parent / "jobs"
MODELS: Final = JOBS / "models.yaml"
STRENGTHS: Final = {
    "claude-opus-5-5": 1.9,
    "gpt-6.1-sol": 1.6,
    "gemini-3.8-flash": 1.2,
    "claude-haiku-5-5": 0.6,
}
BUDGETS: Final = ("0.015", "0.02", "0.03")
WINS: Final = ("0.05", "0.2", "1")
_DEVIATION: Final = 0.5
_LONGER: Final = 5
_ANSWER_S: Final = 10.0
_PAUSES_S: Final = (60.0, 600.0)
_FURTHER_TASKS: Final = 2
_FURTHER_REQUESTS: Final = 8
_WORDS: Final = 200
# Jobs begin this many seconds after each other.
_APART_S: Final = 120.0


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=10, help="of each recorded job")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="writes the figures there")
    parser.add_argument("--markdown", action="store_true", help="prints the table of the docs")
    parser.add_argument(
        "--picture", metavar="FILE.svg", help="draws a job with and without changes"
    )
    args = parser.parse_args()
    if args.picture is not None:
        Path(args.picture).write_text(picture(args.seed))
        return 0
    found = comparison(args.copies, args.seed)
    if args.markdown:
        print(markdown(found))
    else:
        print_comparison(found)
    if args.json is not None:
        Path(args.json).write_text(json.dumps(found.to_json(), indent=1))
    return 0


def comparison(copies: int, seed: int) -> Comparison:
    """The recorded jobs, lengthened, under every rule."""
    all_terms = [Terms(budget_usd=Decimal(usd)) for usd in BUDGETS]
    all_terms += [Terms(usd_per_win=Decimal(usd)) for usd in WINS]
    lines = lengthened(copies, seed)
    return asyncio.run(compare(lines, settings_from(str(MODELS)), all_terms, seed))


def lengthened(copies: int, seed: int) -> list[JobRequest]:
    """All copies of all jobs, in the order in which they are sent."""
    recorded = [list(read_jobs(path)) for path in sorted(JOBS.glob("*.jsonl"))]
    lines: list[JobRequest] = []
    numbered = enumerate(job for _ in range(copies) for job in recorded)
    for number, job in numbered:
        chance = random.Random(f"{seed} {number}")
        lines += one_job(job, number, chance)
    return sorted(lines, key=lambda line: line.began_s + line.at_s)


def one_job(job: Sequence[JobRequest], number: int, chance: random.Random) -> Iterator[JobRequest]:
    """The recorded job, and the tasks after it in its main conversation."""
    branches = [line.branch for line in job]
    branch = max(set(branches), key=branches.count)
    main_turns = [line for line in job if line.branch == branch]
    session = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
    same = {"session": session, "key": "00" * 16, "began_s": number * _APART_S}
    at_s, held = 0.0, 0
    for task in range(1 + _FURTHER_TASKS):
        board = _board(chance)
        for line in job if task == 0 else main_turns[:_FURTHER_REQUESTS]:
            is_first = line is main_turns[0]
            grown = line.input_tokens - main_turns[0].input_tokens + held + _WORDS
            yield line.model_copy(
                update={
                    **same,
                    "at_s": at_s,
                    "input_tokens": line.input_tokens if task == 0 else grown,
                    "output_tokens": _LONGER * line.output_tokens,
                    "thinking_tokens": _LONGER * line.thinking_tokens,
                    "leaderboard": board if is_first or line.branch != branch else None,
                }
            )
            at_s += _ANSWER_S
        held = grown if task > 0 else main_turns[-1].input_tokens
        at_s += chance.choice(_PAUSES_S)


def _board(chance: random.Random) -> RecordedBoard:
    coefficients = {name: chance.gauss(mean, _DEVIATION) for name, mean in STRENGTHS.items()}
    return RecordedBoard(family=PreferenceFamily.BT, coefficients=coefficients)


def markdown(found: Comparison) -> str:
    """The table in the form of the docs."""
    head = ("terms", "rule", "USD a job", "win rate", "single models", "changes",
            "in a tool loop", "from a cache", "scored")  # fmt: skip
    lines = [" | ".join(head), " | ".join(["---", "---", *["---:"] * 7])]
    for result in found.results:
        terms = result.terms
        told = found.figures(result)
        rule = result.rule if result.model is None else f"`{result.model}` alone"
        mix = found.mix_usd(told["win_rate"])
        cells = (
            terms.said, rule, f"{told['job_cost_usd']:.3f}", f"{told['win_rate']:.3f}",
            "not reached" if mix is None else f"{mix:.3f}",
            str(told["changes"]), str(told["tool_loop_changes"]),
            f"{told['prefix_read']:.1%}", f"{told['scored']:.1%}",
        )  # fmt: skip
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def picture(seed: int) -> str:
    """An SVG: what one job has cost after each of its requests, where its model never changes,
    where it changes once, and where it changes with every request."""
    job = list(read_jobs(JOBS / "codex.jsonl"))
    talks = Conversations()
    turns = [talks.turn(line) for line in one_job(job, 0, random.Random(seed))]
    scene = scene_of(settings_from(str(MODELS)))
    curves = []
    for label, model_at in _PLANS.items():
        billing = Billing(scene)
        costs = [float(billing.bill(turn, model_at(k)).cost_usd) for k, turn in enumerate(turns)]
        curves.append((label, list(itertools.accumulate(costs))))
    return drawn(curves)


_DEAR, _OTHER = "claude-opus-5-5", "gpt-6.1-sol"
_CHANGES_AT = 40
_PLANS: Final[dict[str, Callable[[int], str]]] = {
    f"{_DEAR} and {_OTHER} in turn": lambda k: (_DEAR, _OTHER)[k % 2],
    f"{_DEAR} throughout": lambda _: _DEAR,
    f"{_OTHER}, then {_DEAR}": lambda k: _OTHER if k < _CHANGES_AT else _DEAR,
    f"{_OTHER} throughout": lambda _: _OTHER,
}
# Readable on white and on black.
_COLOURS: Final = ("#d1495b", "#2e86de", "#e08e0b", "#1b998b")
_GREY: Final = "#808080"
_WIDE, _HIGH, _LEFT, _TOP, _RIGHT, _BOTTOM = 760, 400, 60, 20, 20, 46


def drawn(curves: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Curves of USD over requests, as an SVG without a background."""
    n = max(len(values) for _, values in curves)
    most = max(values[-1] for _, values in curves)
    step = next(s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if most / s <= 7)
    parts = [*_axes(n, most, step)]
    for row, ((label, values), colour) in enumerate(zip(curves, _COLOURS, strict=True)):
        points = " ".join(f"{_x(k, n):.1f},{_y(usd, most):.1f}" for k, usd in enumerate(values, 1))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        )
        y = _TOP + 32 + 20 * row
        parts.append(f'<path d="M{_LEFT + 14} {y - 4}h24" stroke="{colour}" stroke-width="3"/>')
        parts.append(_text(_LEFT + 46, y, f"{label}: {values[-1]:.2f} USD", "start"))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" '
        f'width="{_WIDE}" height="{_HIGH}" role="img" font-family="sans-serif" font-size="13">\n'
        f"<title>What a job has cost after each of its requests</title>\n{body}\n</svg>\n"
    )


def _axes(n: int, most: float, step: float) -> Iterator[str]:
    for k in range(int(most / step) + 1):
        y = _y(k * step, most)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}" stroke="{_GREY}" opacity="0.3"/>'
        yield _text(_LEFT - 8, y + 4, f"{k * step:.1f}", "end")
    for k in range(0, n + 1, 10):
        yield _text(_x(k, n), _HIGH - _BOTTOM + 18, str(k), "middle")
    yield _text((_LEFT + _WIDE - _RIGHT) / 2, _HIGH - 8, "requests of the job", "middle")
    yield _text(8, _TOP - 6, "USD", "start")


def _x(k: float, n: int) -> float:
    return _LEFT + (_WIDE - _LEFT - _RIGHT) * k / n


def _y(usd: float, most: float) -> float:
    return _HIGH - _BOTTOM - (_HIGH - _TOP - _BOTTOM) * usd / most


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_GREY}">{text}</text>'


if __name__ == "__main__":
    raise SystemExit(main())
