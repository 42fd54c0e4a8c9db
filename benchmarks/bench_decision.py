"""Milliseconds from a prompt to a decision with the bundled checkpoint on this CPU.

python benchmarks/bench_decision.py
"""

from __future__ import annotations

import random
import resource
import time

import numpy as np

from p2l_model.checkpoint.folder import load_checkpoint, resolve_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation
from router.choice import RoutingRequest, decide
from router.cost import RequestShape
from server.catalogue.cards import build_catalogue
from server.config.defaults import default_settings

LENGTHS = (32, 128, 512)
REPEAT = 60
TEXT = "The court held that the clause in the contract could not be enforced against the buyer. "


def main() -> None:
    started = time.perf_counter()
    checkpoint = load_checkpoint(resolve_checkpoint("bundled"))
    engine = load_engine(checkpoint)
    engine.warm_up()
    loaded_s = time.perf_counter() - started
    cards = build_catalogue(default_settings({}))
    print("| tokens | score p50 ms | score p99 ms | decide p50 µs | decide p99 µs |")
    print("|---|---|---|---|---|")
    for length in LENGTHS:
        # tokens of the sentence repeat, so a prefix of the text has about the length wanted
        words = " ".join((TEXT * 60).split()[: int(length * 0.9)])
        conversation = Conversation((words,))
        scores, decisions, used = [], [], 0
        for _ in range(REPEAT):
            before = time.perf_counter()
            ids = checkpoint.prompt.encode(conversation)
            board = checkpoint.leaderboard(engine.features([ids])[0])
            between = time.perf_counter()
            shape = RequestShape(input_tokens=len(ids), input_tokens_upper_bound=4 * len(ids))
            decide(board, cards, RoutingRequest(shape=shape), random.Random(0))
            scores.append(1e3 * (between - before))
            decisions.append(1e6 * (time.perf_counter() - between))
            used = len(ids)
        p = [np.percentile(s, q) for s in (scores, decisions) for q in (50, 99)]
        print(f"| {used} | {p[0]:.1f} | {p[1]:.1f} | {p[2]:.0f} | {p[3]:.0f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nloaded and warm in {loaded_s:.2f} s; peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
