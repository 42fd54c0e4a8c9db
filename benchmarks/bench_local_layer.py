"""CPU time of a decision with a local layer in force and without, on the default checkpoint.

    python benchmarks/bench_local_layer.py
    python benchmarks/bench_local_layer.py --learning        # only what learning takes
    python benchmarks/bench_local_layer.py --learning --answers 300
    PYTHONPATH=../before python benchmarks/bench_local_layer.py --learning        # another version

Twelve models; prompts that are new, and a leaderboard that is known already. The two ways take
turns within each round. Then the time of an update, by a grade and by a vote, without heads and
with heads of four axes, and of learning all layers of twenty keys that differ.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from p2l_model.local.changes import Changes
from p2l_model.local.layer import LocalLayer
from p2l_model.local.terms import PromptAxes, PromptTerms
from p2l_model.types import Outcome, PromptLeaderboard
from router.choice import decide
from server.auth.authenticator import Caller
from server.build import build_scorer
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.config.settings import LearningSettings
from server.gateway.local_frame import Frame, start_of
from server.gateway.local_layers import ALL, LocalLayers
from server.gateway.local_learning import DAY_US, Lesson, learn_layers, learn_one
from server.gateway.planner import Planner
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions

NAMES = (
    "gpt-6.1-sol", "gpt-6-luna", "claude-opus-5-5", "claude-haiku-5-5", "gemini-3.1-pro-preview",
    "gemini-3.8-flash", "deepseek-v4", "kimi-k3", "gpt-4o", "gpt-4o-mini", "claude-sonnet-4",
    "llama-3.3-70b-instruct",
)  # fmt: skip
ROUNDS, REQUESTS, N_LESSONS, N_UPDATES = 15, 60, 2_000, 600


def planner_of(fixed: bool) -> Planner:
    models = "".join(
        f"  {name}: {{provider: p, input_usd_per_mtok: {k + 1}, output_usd_per_mtok: {k + 2}}}\n"
        for k, name in enumerate(NAMES)
    )
    text = f"providers: {{p: {{kind: sandbox}}}}\nmodels:\n{models}routing: {{usd_per_win: 0.01}}\n"
    if fixed:
        board = ", ".join(f"{name}: {k}" for k, name in enumerate(NAMES))
        text += f"scorer: {{fixed: {{{board}}}}}\n"
    settings = parse_settings(text)
    scorer = build_scorer(settings.scorer)
    return Planner(build_catalogue(settings), settings.routing, settings.scorer, scorer)


async def axes_of(planner: Planner, frame: Frame) -> PromptAxes:
    """Those of 120 prompts; none where all have one leaderboard."""
    boards = [(await scored(planner, -n))[1] for n in range(1, 121)]
    said = [frame.said_by(one.coefficients, one.expected_scores) for one in boards]
    return PromptAxes.of(np.array(said, dtype=np.float64), len(frame.names))


def lessons(
    names: Sequence[str], n_axes: int, n_keys: int, n_lessons: int, *, votes: bool
) -> Iterator[Lesson]:
    """Of keys that differ, fifty a day."""
    chance = np.random.default_rng(1)
    worth = np.linspace(1.0, -1.0, len(names)) + chance.normal(size=(n_keys, len(names)))
    for n in range(n_lessons):
        key, (a, b) = n % n_keys, chance.permutation(len(names))[:2].tolist()
        deviation = dict(zip(names, chance.normal(size=len(names)).tolist(), strict=True))
        terms = PromptTerms(float(chance.normal()), deviation, chance.normal(size=n_axes))
        known = (n * DAY_US // 50, f"k{key}", None, None, names[a])
        if votes:
            wins = chance.random() < 1.0 / (1.0 + np.exp(worth[key, b] - worth[key, a]))
            outcome = Outcome.MODEL_A if wins else Outcome.MODEL_B
            yield Lesson(*known, names[b], outcome=outcome, terms=terms)
        else:
            good = chance.random() < 1.0 / (1.0 + np.exp(-worth[key, a]))
            yield Lesson(*known, score=float(good), terms=terms)


def learning(n_axes: int, n_lessons: int, *, votes: bool) -> None:
    """Prints the CPU time of one update, a median, and of learning all layers."""
    start = partial(
        LocalLayer.start, NAMES, np.zeros(len(NAMES)), 0.3 * np.eye(len(NAMES)) + 0.1, n_axes
    )
    given = list(lessons(NAMES, n_axes, 20, n_lessons, votes=votes))
    layer, changes, times = start(), Changes(is_shared=True), []
    for one in given[:N_UPDATES]:
        began = time.thread_time_ns()
        learn_one(layer, one, changes)
        times.append((time.thread_time_ns() - began) / 1e3)
    began_s = time.thread_time()
    found = learn_layers(given, LearningSettings(), start, given[-1].at_us)
    took = time.thread_time() - began_s
    kind = "vote" if votes else "grade"
    print(
        f"a {kind}, {n_axes} axes: {statistics.median(times):.0f} us; {len(found)} layers of "
        f"{len(given)} {kind}s: {took:.2f} s",
        flush=True,
    )


async def scored(planner: Planner, n: int) -> tuple[float, PromptLeaderboard]:
    """Microseconds of one decision, with its score and without its plan, and the leaderboard."""
    words = f"Write a poem number {n} about {n * 7} ships."
    body = {"model": "p2l", "messages": [{"role": "user", "content": words}]}
    plan = await planner.plan(parse_chat_request(body), RoutingOptions(), Caller("k"))
    began = time.process_time_ns()
    board, _ = await planner.leaderboard(plan)
    decide(board, plan.catalogue, plan.routing, random.Random(1))
    return (time.process_time_ns() - began) / 1e3, board


async def compare(fixed: bool) -> None:
    planner = planner_of(fixed)
    await planner.scorer.start()
    frame = planner.frame()
    assert frame is not None
    axes = await axes_of(planner, frame)
    given = list(lessons(frame.names, axes.n, 5, N_LESSONS, votes=False))
    start = partial(start_of(frame), axes.n)
    learnt = learn_layers(given, LearningSettings(), start, given[-1].at_us)
    layers = LocalLayers("v", {ALL: learnt[ALL].layer}, axes=axes)
    found: dict[bool, list[float]] = {False: [], True: []}
    n = 0
    for _ in range(ROUNDS):
        for has_layer in (False, True):
            planner.local = layers if has_layer else LocalLayers()
            times = []
            for _ in range(REQUESTS):
                n += 1
                times.append((await scored(planner, n))[0])
            found[has_layer].append(statistics.median(times))
    pairs = zip(found[True], found[False], strict=True)
    apart = sorted(with_it - without for with_it, without in pairs)
    kind = "known leaderboard" if fixed else "new prompt"
    print(
        f"{kind}, {axes.n} axes: {statistics.median(found[False]):.0f} us without, "
        f"{statistics.median(found[True]):.0f} us with a layer; difference "
        f"{statistics.median(apart):+.0f} us [{apart[1]:+.0f}, {apart[-2]:+.0f}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learning", action="store_true", help="leave out the decisions")
    parser.add_argument("--answers", type=int, default=N_LESSONS, help="from which layers learn")
    args = parser.parse_args()
    if not args.learning:
        for fixed in (False, True):
            asyncio.run(compare(fixed))
    for votes in (False, True):
        for n_axes in (0, 4):
            learning(n_axes, args.answers, votes=votes)


if __name__ == "__main__":
    main()
