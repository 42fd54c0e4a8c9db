"""What a new prompt of 60 words costs as the gateway is shipped, beside one thread and one core.

All variants are up at the same time and asked in turn, so that what else the machine does falls on
all of them. CPU is the kernel's own count of the process. Run with `make bench`, or:
PYTHONPATH=tests/support python benchmarks/bench_score_default.py [--rounds 15] [--threads]
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
from serve_process import ServeProcess

WORDS = 60
PROMPTS_A_ROUND = 20
SANDBOX = (
    "providers: {here: {kind: sandbox}}\nmodels: {gpt-4o-2024-08-06: {provider: here}}\n"
    "scorer: {checkpoint: bundled"
)
VOCABULARY = (
    "the a this that some every which what when where how why who our your their people city",
    "river house table letter music story answer question number night winter market engine",
    "garden light paper model price budget reason write explain compare describe list prove",
    "translate summarise make find show give keep between under before after during without",
    "because small large early simple strange quiet bright heavy careful and or but with from",
)


@dataclass
class Variant:
    """name: as it is printed. cores: how many the process is kept to, 0 for all there are. blas:
    threads of numpy's matrix products, 0 for what the program chooses."""

    name: str
    config: str
    cores: int = 0
    blas: int = 0
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    started: dict[str, float] = field(default_factory=dict)


VARIANTS = (
    Variant("default", f"{SANDBOX}}}\n"),
    Variant("threads: 1", f"{SANDBOX}, threads: 1}}\n"),
    Variant("threads: 1, one core", f"{SANDBOX}, threads: 1}}\n", cores=1),
    Variant("threads: 1, BLAS on two", f"{SANDBOX}, threads: 1}}\n", blas=2),
    Variant("threads: 2, BLAS on two", f"{SANDBOX}, threads: 2}}\n", blas=2),
)


def main() -> None:
    """One line per variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", action="store_true", help="CPU of each thread as well")
    options = parser.parse_args()
    prompts = new_prompts()
    with ExitStack() as stack:
        running = [(variant, started(variant, stack)) for variant in VARIANTS]
        for _ in range(options.rounds):
            for variant, gateway in running:
                measure(variant, gateway, prompts)
        n_prompts = options.rounds * (PROMPTS_A_ROUND + 1)
        for variant, gateway in running:
            print(line(variant), flush=True)
            if options.threads:
                spent = by_thread(gateway.pid)
                for thread, ms in sorted(spent.items(), key=lambda one: -one[1])[:8]:
                    before_ms = variant.started.get(thread, 0.0)
                    print(f"    {thread}: {(ms - before_ms) / n_prompts:.2f} ms a prompt")


def started(variant: Variant, stack: ExitStack) -> ServeProcess:
    """A gateway of its own, in a folder of its own."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    all_cores = os.sched_getaffinity(0)
    try:
        if variant.cores > 0:  # what is started inherits it
            os.sched_setaffinity(0, sorted(all_cores)[-variant.cores :])
        environ = {"OPENBLAS_NUM_THREADS": str(variant.blas)} if variant.blas > 0 else {}
        gateway = stack.enter_context(ServeProcess(folder, variant.config, environ=environ))
    finally:
        os.sched_setaffinity(0, all_cores)
    variant.started.update(by_thread(gateway.pid))
    return gateway


def new_prompts() -> Iterator[str]:
    """None of them comes twice."""
    chance, words = random.Random(0), " ".join(VOCABULARY).split()
    while True:
        yield " ".join(chance.choices(words, k=WORDS))


def measure(variant: Variant, gateway: ServeProcess, prompts: Iterator[str]) -> None:
    """One round: prompts one after the other; what each costs on average is kept."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as http:
        ask(http, next(prompts))
        before, walls = cpu_ms(gateway.pid), []
        for _ in range(PROMPTS_A_ROUND):
            start = time.perf_counter()
            ask(http, next(prompts))
            walls.append((time.perf_counter() - start) * 1000)
    variant.cpu_ms.append((cpu_ms(gateway.pid) - before) / PROMPTS_A_ROUND)
    variant.wall_ms.append(median(walls))


def ask(http: httpx.Client, prompt: str) -> None:
    """Raises HTTPStatusError."""
    message = {"role": "user", "content": prompt}
    http.post("/v1/route", json={"model": "p2l", "messages": [message]}).raise_for_status()


def line(variant: Variant) -> str:
    """Medians over the rounds."""
    cpu, wall = variant.cpu_ms, variant.wall_ms
    return (
        f"{variant.name}: CPU {median(cpu):.1f} ms a prompt ({min(cpu):.1f} to {max(cpu):.1f}), "
        f"time {median(wall):.1f} ms ({min(wall):.1f} to {max(wall):.1f})"
    )


def cpu_ms(pid: int) -> float:
    """User and system time of the process so far, to the nanosecond (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


def by_thread(pid: int) -> dict[str, float]:
    """Each thread's CPU so far in ms; the first is the event loop's."""
    found = {}
    for number, task in enumerate(sorted(Path(f"/proc/{pid}/task").iterdir(), key=_number)):
        spent = int((task / "schedstat").read_text().split()[0]) / 1e6
        found[f"{'event loop' if number == 0 else 'thread'} {task.name}"] = spent
    return found


def _number(task: Path) -> int:
    return int(task.name)


if __name__ == "__main__":
    main()
