"""The scorer against the reference's way, on this machine: one command, on a CPU or a GPU.

    python benchmarks/model_service.py                      # the bundled checkpoint
    python benchmarks/model_service.py --random 135m,1.5b,7b --lengths 128,512,4096
    python benchmarks/model_service.py --soak 100000        # memory of the service

The reference's way is that of its endpoint: transformers, the whole backbone, one prompt after the
other. Both get the same token ids of the same prompts from closed-loop clients, in turns within one
run, so that what else the machine does hits both. Beside the clock there is CPU time, which a busy
machine changes less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, resolve_checkpoint
from p2l_model.engine.batcher import Batcher
from p2l_model.engine.load import load_engine
from p2l_model.engine.local import LocalScorer
from p2l_model.engine.options import EngineOptions
from p2l_model.errors import ExtraMissingError
from p2l_model.types import Conversation

Score = Callable[[Any], Awaitable[Any]]


def main() -> None:
    """Prints one table after the other; see the module's text."""
    args = _arguments()
    if args.soak:
        soak(args.soak)
    elif args.random:
        for size in args.random.split(","):
            random_weights(size, args)
    else:
        bundled(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the scorer against one prompt at a time")
    parser.add_argument("--checkpoint", default="bundled")
    parser.add_argument("--prompts", help="one JSON string per line (default: a built-in mix)")
    parser.add_argument("--random", metavar="SIZES", help="135m, 1.5b, 7b: random weights")
    parser.add_argument("--lengths", default="128,512,4096", help="tokens, with --random")
    parser.add_argument("--engines", default="torch,vllm", help="with --random")
    parser.add_argument("--concurrency", default="1,16,64")
    parser.add_argument("--requests", type=int, default=128, help="in each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--soak", type=int, default=0, metavar="N")
    return parser.parse_args()


@dataclass
class Figures:
    """Latencies in ms, and what the turns took of the clock and of the CPUs, in seconds."""

    latencies: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Prompts a second."""
        return len(self.latencies) / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU time of a prompt."""
        return 1000.0 * self.cpu_s / len(self.latencies)

    def row(self, name: str, than: Figures) -> str:
        """A line of a table."""
        p50, p99 = np.percentile(self.latencies, [50, 99])
        return (
            f"| {name} | {p50:.1f} | {p99:.1f} | {self.per_s:.1f} | {self.cpu_ms:.1f} | "
            f"{self.per_s / than.per_s:.2f} | {than.cpu_ms / self.cpu_ms:.2f} | "
            f"{p50 / np.percentile(than.latencies, 50):.2f} |"
        )


HEADER = (
    "| | p50 ms | p99 ms | prompts/s | CPU ms | throughput x | CPU x | p50 x |\n"
    "|---|---|---|---|---|---|---|---|"
)


async def clients(score: Score, prompts: Sequence[Any], concurrency: int, into: Figures) -> None:
    """Closed loop: each client sends its next prompt when its last is answered."""
    left = iter(prompts)

    async def client() -> None:
        for prompt in left:
            started = time.perf_counter()
            await score(prompt)
            into.latencies.append(1000.0 * (time.perf_counter() - started))

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    into.wall_s += time.perf_counter() - started
    into.cpu_s += time.process_time() - cpu


async def in_turns(
    ways: dict[str, Score], prompts: Sequence[Any], concurrency: int, turns: int
) -> dict[str, Figures]:
    """Each way scores the same prompts, one way after the other, so many times."""
    figures = {name: Figures() for name in ways}
    for score in ways.values():
        await clients(score, prompts[:4], concurrency, Figures())
    for _ in range(turns):
        for name, score in ways.items():
            await clients(score, prompts, concurrency, figures[name])
    return figures


def one_at_a_time(encode: Callable[[Any], list[int]], engine: Any) -> Score:
    """The reference's endpoint, without its blocking of the event loop."""
    thread = ThreadPoolExecutor(1)

    def work(prompt: Any) -> Any:
        return engine.features([encode(prompt)])

    async def score(prompt: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(thread, work, prompt)

    return score


def bundled(args: argparse.Namespace) -> None:
    """A mix of prompts through the whole scorer; then lengths against the bound."""
    checkpoint = load_checkpoint(resolve_checkpoint(args.checkpoint))
    mix = [Conversation((text,)) for text in _texts(args.prompts)]
    random.Random(0).shuffle(mix)
    prompts = (mix * (args.requests // len(mix) + 1))[: args.requests]
    lengths = [len(checkpoint.prompt.encode(one)) for one in prompts]
    print(f"{args.checkpoint}: {len(set(prompts))} prompts of {min(lengths)} to {max(lengths)} "
          f"tokens, median {np.median(lengths):.0f}, mean {np.mean(lengths):.0f}")  # fmt: skip
    asyncio.run(_mix(checkpoint, prompts, args))
    _against_the_bound(checkpoint, args.threads)


async def _mix(checkpoint: Checkpoint, prompts: Sequence[Any], args: argparse.Namespace) -> None:
    torch_engine = load_engine(checkpoint, "torch", EngineOptions(n_threads=args.threads))
    options = EngineOptions(n_threads=args.threads)
    scorers = {
        "ours": LocalScorer.warmed(checkpoint, "auto", options, cache_size=0),
        "ours, last 256 tokens": LocalScorer.warmed(
            checkpoint.limited(256), "auto", options, cache_size=0
        ),
    }
    ways: dict[str, Score] = {
        "transformers, one at a time": one_at_a_time(checkpoint.prompt.encode, torch_engine)
    }
    ways |= {name: scorer.score for name, scorer in scorers.items()}
    for concurrency in map(int, args.concurrency.split(",")):
        figures = await in_turns(ways, prompts, concurrency, args.turns)
        _print(f"concurrency {concurrency}", figures)
    for scorer in scorers.values():
        await scorer.close()


def _print(title: str, figures: dict[str, Figures]) -> None:
    first = next(iter(figures.values()))
    print(f"\n{title}\n\n{HEADER}")
    for name, found in figures.items():
        print(found.row(name, first), flush=True)


def _texts(path: str | None) -> list[str]:
    if path is not None:
        return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines() if line]
    import server

    built_in = Path(server.__file__).parent / "commands" / "export_prompts.txt"
    texts = [line.replace("\\n", "\n") for line in built_in.read_text("utf-8").splitlines()]
    # a third of real prompts carry a text along; a few are longer than what is read
    pasted = [f"{text}\n\n{' '.join(texts[k : k + 5])}" for k, text in enumerate(texts[::3])]
    return [*texts, *pasted, *(" ".join(texts[k:] + texts[:k]) for k in (0, 20))]


def _against_the_bound(checkpoint: Checkpoint, threads: int) -> None:
    """The engine alone, one prompt at a time, beside bare matrix products of the same sizes."""
    engine = load_engine(checkpoint, "auto", EngineOptions(n_threads=threads))
    print("\n| tokens | p50 ms | bare matrix products, ms | ratio |\n|---|---|---|---|")
    for n in (32, 128, 512):
        ids = [[101, *range(2000, 2000 + n - 2), 102]]
        products = _bare_products(checkpoint, n, threads)
        mine: list[float] = []
        bare: list[float] = []
        for _ in range(30):
            mine.append(_timed(partial(engine.features, ids)))
            bare.append(_timed(products))
        p50, bound = np.median(mine[3:]), np.median(bare[3:])
        print(f"| {n} | {p50:.1f} | {bound:.1f} | {p50 / bound:.2f} |", flush=True)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000.0 * (time.perf_counter() - started)


def _bare_products(checkpoint: Checkpoint, n: int, threads: int) -> Callable[[], object]:
    """A graph of the encoder's matrix products alone: of integers where the engine's are."""

    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    from p2l_model.engine.graph import layers_used

    config, manifest = checkpoint.config, checkpoint.manifest
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    heads, n_layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
    integers = manifest.engine_precision == "int8"
    chance = np.random.default_rng(0)
    nodes: list[Any] = []
    tensors: list[Any] = []
    feeds: dict[str, Any] = {}

    def product(left: tuple[int, ...], right: tuple[int, ...], *, weights: bool) -> None:
        k = len(nodes)
        quantised = integers and weights
        a, b = (chance.integers(0, 127, size=shape) for shape in (left, right))
        feeds[f"a{k}"] = a.astype(np.uint8 if quantised else np.float32)
        matrix = b.astype(np.int8 if quantised else np.float32)
        if weights:
            tensors.append(numpy_helper.from_array(matrix, f"b{k}"))
        else:
            feeds[f"b{k}"] = matrix
        kind = "MatMulInteger" if quantised else "MatMul"
        nodes.append(helper.make_node(kind, [f"a{k}", f"b{k}"], [f"c{k}"]))

    for _ in range(layers_used(manifest.feature_layers, n_layers)):
        for _ in range(4):
            product((n, width), (width, width), weights=True)
        product((n, width), (width, inner), weights=True)
        product((n, inner), (inner, width), weights=True)
        product((heads, n, width // heads), (heads, width // heads, n), weights=False)
        product((heads, n, n), (heads, n, width // heads), weights=False)
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feeds.items()
    ]
    kinds = {"MatMul": TensorProto.FLOAT, "MatMulInteger": TensorProto.INT32}
    outputs = [helper.make_tensor_value_info(x.output[0], kinds[x.op_type], None) for x in nodes]
    graph = helper.make_graph(nodes, "bound", inputs, outputs, initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, feeds)


def random_weights(size: str, args: argparse.Namespace) -> None:
    """A decoder of a real size: prompts of one length, engine against engine."""
    from random_checkpoint import random_checkpoint

    lengths = [int(length) for length in args.lengths.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_checkpoint(Path(folder), size, max(lengths))
        for name in args.engines.split(","):
            try:
                asyncio.run(_random(checkpoint, size, name, lengths, args))
            except ExtraMissingError as error:
                print(f"{size}, {name}: left out, {error}")


async def _random(
    checkpoint: Checkpoint, size: str, name: str, lengths: list[int], args: argparse.Namespace
) -> None:
    reference = load_engine(checkpoint, "torch", EngineOptions(n_threads=args.threads))
    engine = load_engine(checkpoint, name, EngineOptions(n_threads=args.threads))
    engine.warm_up()
    batcher = Batcher(engine)
    ways = {
        "transformers, one at a time": one_at_a_time(list, reference),
        f"ours, {name}": batcher.features,
    }
    chance = np.random.default_rng(0)
    for length in lengths:
        prompts = chance.integers(0, 200, size=(args.requests, length)).tolist()
        for concurrency in map(int, args.concurrency.split(",")):
            figures = await in_turns(ways, prompts, concurrency, args.turns)
            _print(f"{size}, {length} tokens, concurrency {concurrency}", figures)
    await batcher.close()
    engine.close()
    reference.close()


def soak(n_requests: int) -> None:
    """Memory of a real `p2l-router model` under distinct prompts: the cache full, then on and on.

    The checkpoint is tiny, so that what is measured is the service and not matrix products.
    """
    from tiny_checkpoint import write_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        path = write_checkpoint(Path(folder) / "checkpoint")
        command = [str(Path(sys.executable).parent / "p2l-router"), "model", "--port", "18731"]
        process = subprocess.Popen(
            [*command, "--checkpoint", str(path), "--threads", "1"], stderr=subprocess.DEVNULL
        )
        try:
            asyncio.run(_soak(process.pid, n_requests))
        finally:
            process.terminate()
            process.wait(timeout=30)


async def _soak(pid: int, n_requests: int) -> None:
    from server.upstream.transport import build_client

    client, url = build_client(max_concurrency=16), "http://127.0.0.1:18731"
    for _ in range(600):
        try:
            if (await client.get(f"{url}/readyz")).is_success:
                break
        except OSError:
            pass
        except Exception as error:  # not up yet
            if "onnect" not in type(error).__name__:
                raise
        await asyncio.sleep(0.1)
    counter = iter(range(n_requests))
    words = [chr(97 + k) * (k % 5 + 1) for k in range(26)]

    async def client_loop() -> None:
        for k in counter:
            text = " ".join(words[(k * 7 + j * j) % 26] for j in range(k % 40 + 1)) + f" {k}"
            answer = await client.post(f"{url}/predict", json={"prompt": [text]})
            assert answer.status_code == 200, answer.text
            if k % (n_requests // 10) == 0:
                print(f"{k:>8} requests: {_rss_mb(pid):.1f} MB", flush=True)

    await asyncio.gather(*(client_loop() for _ in range(16)))
    print(f"{n_requests:>8} requests: {_rss_mb(pid):.1f} MB", flush=True)
    metrics = (await client.get(f"{url}/metrics")).text
    found = re.search(r'route="/predict"} ([\d.]+)', metrics)
    print(f"answered: {found.group(1) if found else '?'}")
    await client.aclose()


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
