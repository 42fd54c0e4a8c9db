"""No thread turns in circles beside the one that scores a prompt."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import httpx
import pytest
from serve_process import ServeProcess

SANDBOX = "providers: {here: {kind: sandbox}}\nmodels: {gpt-4o-2024-08-06: {provider: here}}\n"
# Of a process kept from its other threads. Before, the default was at three to five times.
MOST = 1.7
ROUNDS = 5
PROMPTS = 6
COUNT_THREADS = """
import contextlib, io, os, sys
from server.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main([sys.argv[1], "--help"])
import numpy
numpy.ones((400, 400)) @ numpy.ones((400, 400))
print(len(os.listdir("/proc/self/task")))
"""


def threads_of(verb: str, **environ: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS, verb],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_verbs_that_score_one_prompt_multiply_matrices_on_one_thread() -> None:
    assert threads_of("serve") == threads_of("model") == 1
    assert threads_of("evaluate") == len(os.sched_getaffinity(0)), "large ones use all cores"
    wanted = min(2, len(os.sched_getaffinity(0)))
    assert threads_of("serve", OPENBLAS_NUM_THREADS="2") == wanted, "a variable that is set holds"


def cpu_ms(gateway: ServeProcess) -> float:
    tasks = Path(f"/proc/{gateway.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


@contextmanager
def on_one_core() -> Iterator[None]:
    """What is started in it stays there."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def cost_ms(gateway: ServeProcess, seed: int) -> float:
    """CPU of one new prompt, with what is done in the pause after it."""
    before = cpu_ms(gateway)
    for number in range(PROMPTS):
        text = f"{seed} {number} " + "explain why the river of the old city is quiet at night " * 5
        body = {"model": "p2l", "messages": [{"role": "user", "content": text}]}
        answer = httpx.post(f"{gateway.url}/v1/route", json=body, trust_env=False, timeout=60)
        assert answer.json()["scoring"] == "prompt"
        time.sleep(0.03)
    return (cpu_ms(gateway) - before) / PROMPTS


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux's schedstat")
def test_a_new_prompt_costs_by_default_what_it_costs_on_one_core(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("default", "alone")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        default = stack.enter_context(ServeProcess(folders[0], SANDBOX))
        with on_one_core():
            pinned = stack.enter_context(ServeProcess(folders[1], SANDBOX))
        costs = [[cost_ms(one, seed) for one in (default, pinned)] for seed in range(ROUNDS + 1)]
    ours, least = (median(row[k] for row in costs[1:]) for k in (0, 1))
    assert ours < MOST * least
