"""What a full outage of the preferred provider adds to a request once its breaker is open.

Two gateways, asked in turn: one whose preferred provider accepts connections and never answers,
one that has only what is left. Prints the p95 of both and their difference.

    PYTHONPATH=tests/support python benchmarks/bench_outage.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import httpx
import numpy as np
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

BODY = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
# The probe that goes out each time an open breaker's time is over waits for its timeout.
PROBE_MS = 900.0


def ask(http: httpx.Client) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    http.post("/v1/chat/completions", json=BODY).raise_for_status()
    return 1000.0 * (time.perf_counter() - started)


def p95_difference(outage: Sequence[float], healthy: Sequence[float]) -> tuple[float, float, float]:
    """(ms, its 95% interval by resampling the pairs)."""
    pairs = np.array([outage, healthy])
    rng = np.random.default_rng(0)
    draws = [pairs[:, rng.integers(0, pairs.shape[1], pairs.shape[1])] for _ in range(2000)]
    p95 = [float(np.subtract(*np.quantile(draw, 0.95, axis=1))) for draw in draws]
    low, high = np.quantile(p95, [0.025, 0.975])
    return float(np.subtract(*np.quantile(pairs, 0.95, axis=1))), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    args = parser.parse_args()
    with FakeProvider(api_key="k") as broken, FakeProvider(api_key="k") as sound:
        broken.script("up-dear", Behaviour(first_delay_s=60))
        environ = {"MAIN_KEY": "k"}
        rest = config_for(sound.base_url, "routing: {models: [middle, cheap]}")
        with (
            LiveGateway(config_for(broken.base_url), environ) as in_outage,
            LiveGateway(rest, environ) as healthy,
            httpx.Client(base_url=in_outage.url, trust_env=False, timeout=30) as first,
            httpx.Client(base_url=healthy.url, trust_env=False, timeout=30) as second,
        ):
            opening = 0
            while ask(first) > PROBE_MS:
                opening += 1
            times = np.array([(ask(first), ask(second)) for _ in range(args.requests)])
    probes = int((times[:, 0] > PROBE_MS).sum())
    added, low, high = p95_difference(times[:, 0].tolist(), times[:, 1].tolist())
    print(f"the breaker opened after {opening} requests; {probes} of {args.requests} were probes")
    print(
        f"p95 in the outage {np.quantile(times[:, 0], 0.95):.2f} ms, without it "
        f"{np.quantile(times[:, 1], 0.95):.2f} ms: {added:+.2f} ms [{low:+.2f}, {high:+.2f}]"
    )


if __name__ == "__main__":
    main()
