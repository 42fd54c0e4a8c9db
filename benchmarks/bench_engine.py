"""The CPU engine, measured: start, memory, latency and error against torch, in both precisions.

Each row is a process of its own, so that memory is that row's alone. Run with `make bench`, or:
python benchmarks/bench_engine.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from p2l_model.checkpoint.folder import GRAPH, Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.engine.graph import build_graph
from p2l_model.engine.load import load_engine
from p2l_model.types import Conversation

LENGTHS = (32, 128, 512)
RUNS = 30
PROMPTS = (
    "",
    "Prove that there are infinitely many primes.",
    "请用中文写一首关于秋天的诗。",
    "def f(x):\n    return x * 2\nWhat does f(21) give?",
    "A long one, far over what is kept. " * 400,
)


def main() -> None:
    """One line per precision and number of threads."""
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]), int(sys.argv[2]))
        return
    bundled = load_checkpoint(resolve_checkpoint("bundled"))
    reference = load_engine(bundled, "torch").features(encoded(bundled))
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "int8"):
            path = as_precision(bundled, Path(folder) / precision, precision)
            features = load_engine(load_checkpoint(path), "onnx").features(encoded(bundled))
            print(f"{precision}: {error(features, reference)}", flush=True)
            for n_threads in (1, 2):
                subprocess.run([sys.executable, __file__, str(path), str(n_threads)], check=True)


def as_precision(source: Checkpoint, target: Path, precision: str) -> Path:
    """The checkpoint with a graph of that precision: the weights are the same."""
    shutil.copytree(source.path, target)
    manifest = source.manifest.model_copy(update={"engine_precision": precision})
    (target / "p2l.json").write_text(json.dumps(manifest.model_dump(mode="json")))
    graph = build_graph(source.config, precision, manifest.feature_layers, manifest.pooling)
    (target / GRAPH).write_bytes(graph)
    return target


def encoded(checkpoint: Checkpoint) -> list[list[int]]:
    """The prompts' ids."""
    return [checkpoint.prompt.encode(Conversation((text,))) for text in PROMPTS]


def error(features: np.ndarray, reference: np.ndarray) -> str:
    """Against torch: the largest difference, and the features' relative error."""
    off = np.linalg.norm(features - reference, axis=1) / np.linalg.norm(reference, axis=1)
    largest = np.abs(features - reference).max()
    return f"largest difference {largest:.1e}, relative {off.mean():.2%} (worst {off.max():.2%})"


def measure(path: Path, n_threads: int) -> None:
    """Start and memory of this process, then the latency of each length."""
    start = time.perf_counter()
    engine = load_engine(load_checkpoint(path), n_threads=n_threads)
    engine.warm_up()
    load_s, loaded_mb = time.perf_counter() - start, rss_mb()
    latencies = ", ".join(f"{n}: {latency_ms(engine, n):.1f}" for n in LENGTHS)
    print(
        f"  {n_threads} threads: load {load_s:.2f} s, RSS {loaded_mb:.0f} MB ({rss_mb():.0f} after"
        f" {LENGTHS[-1]} tokens), median ms per prompt by tokens {latencies}",
        flush=True,
    )


def latency_ms(engine: object, n_tokens: int) -> float:
    """The median over RUNS."""
    ids = [[101, *range(2000, 2000 + n_tokens - 2), 102]]
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        engine.features(ids)  # type: ignore[attr-defined]
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1000


def rss_mb() -> float:
    """Resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
