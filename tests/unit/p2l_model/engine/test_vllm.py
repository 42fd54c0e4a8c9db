"""The vLLM engine, really run: vLLM on a CPU, in an environment of its own (make test-vllm).

The first run installs it, 3.4 GB in some minutes, under ~/.cache/p2l-router; later ones find it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference_checkpoint import write_reference

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.engine.options import EngineOptions
from p2l_model.errors import CheckpointError, ScoringError
from p2l_model.training.import_reference import import_reference
from p2l_model.types import Conversation

ROOT = Path(__file__).parents[4]
WORKER = ROOT / "tests" / "support" / "vllm_worker.py"
MAX_TOKENS = 256
# float32 on both sides; the last digits move with a batch's make-up and with cache hits
TOLERANCE = 1e-4
PROMPTS = [
    ("x",),
    ("",),
    ("请用中文写一首关于秋天的诗。 \U0001f600",),
    ("first turn", "second turn", "and a third"),
    ("say <|cls|> and <|im_end|><|cls|>",),
    ("a" * (MAX_TOKENS - 100),),
    ("far over what is kept. " * 400,),
    ("b " * 1000, "the end of it"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """Nothing to see."""


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of vLLM's environment, installed where it is not there yet."""
    done = subprocess.run(
        ["make", "-s", "vllm-env"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ours on its path, entry point included; no network; one process and small."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(ROOT)], check=True, capture_output=True)
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PYTHONPATH": str(site),
        "PYTHONSAFEPATH": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": "1",
    }


def checkpoint_of(folder: Path, backbone: str, dtype: torch.dtype = torch.float32) -> Checkpoint:
    # vLLM's CPU kernels have no heads of less than 32
    source = write_reference(folder / "reference", backbone, "bag", dtype=dtype, width=128)
    import_reference(source, folder / "ours", quiet, max_tokens=MAX_TOKENS)
    return load_checkpoint(folder / "ours")


def prompts_of(checkpoint: Checkpoint) -> list[list[int]]:
    ids = [checkpoint.prompt.encode(Conversation(turns)) for turns in PROMPTS]
    assert [len(one) for one in ids[-2:]] == [MAX_TOKENS] * 2, "two are cut"
    return ids


def run(
    python: Path, environ: dict[str, str], folder: Path, job: dict[str, Any]
) -> list[NDArray[np.float32]]:
    (folder / "job.json").write_text(json.dumps(job))
    out = folder / "out.npz"
    done = subprocess.run(
        [str(python), str(WORKER), str(folder / "job.json"), str(out)],
        env=environ, cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(out) as arrays:
        return [arrays[str(k)] for k in range(len(job["batches"]))]


def coefficients(checkpoint: Checkpoint, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(P, M + 1): with eta."""
    boards = [checkpoint.leaderboard(row) for row in features]
    return np.array([[*board.coefficients, board.eta] for board in boards])


@pytest.mark.parametrize(
    ("backbone", "vllm_args"),
    [
        ("qwen2", {}),
        # a prompt is spread over several steps of the scheduler, and there is no prefix cache
        ("llama", {"max_num_batched_tokens": 100, "max_num_seqs": 4}),
        ("qwen2", {"enable_prefix_caching": False, "enable_chunked_prefill": False}),
    ],
)
def test_vllm_gives_torchs_coefficients(
    tmp_path: Path,
    python: Path,
    environ: dict[str, str],
    backbone: str,
    vllm_args: dict[str, Any],
) -> None:
    checkpoint = checkpoint_of(tmp_path, backbone)
    ids = prompts_of(checkpoint)
    expected = coefficients(checkpoint, load_engine(checkpoint, "torch").features(ids))
    # batched, alone, the other way round (by now all are cached), many
    batches = [ids, *([one] for one in ids), ids[::-1], ids * 20]
    job = {"checkpoint": str(checkpoint.path), "vllm_args": vllm_args, "batches": batches}
    found = [coefficients(checkpoint, rows) for rows in run(python, environ, tmp_path, job)]
    n = len(ids)
    wanted = [expected, *(expected[k : k + 1] for k in range(n)), expected[::-1]]
    wanted.append(np.tile(expected, (20, 1)))
    worst = [np.abs(mine - theirs).max() for mine, theirs in zip(found, wanted, strict=True)]
    print(f"{backbone} {vllm_args}: largest difference {max(worst):.1e}")
    assert max(worst) < TOLERANCE
    assert np.ptp(expected, axis=0).max() > 0.1, "the prompts differ, so the test can fail"


def test_bfloat16_weights_with_float32_arithmetic(
    tmp_path: Path, python: Path, environ: dict[str, str]
) -> None:
    checkpoint = checkpoint_of(tmp_path, "llama", torch.bfloat16)
    ids = prompts_of(checkpoint)
    expected = coefficients(checkpoint, load_engine(checkpoint, "torch").features(ids))
    job = {"checkpoint": str(checkpoint.path), "vllm_args": {}, "batches": [ids]}
    (rows,) = run(python, environ, tmp_path, job)
    assert np.abs(coefficients(checkpoint, rows) - expected).max() < TOLERANCE


@pytest.fixture
def vllm_server(
    tmp_path: Path, python: Path, environ: dict[str, str]
) -> Iterator[tuple[Checkpoint, str]]:
    """vLLM's own HTTP server with a checkpoint."""
    checkpoint = checkpoint_of(tmp_path, "qwen2")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # as docs/model-service.md has it; `vllm serve` asks for a distribution named vllm
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    options = {
        "model": str(checkpoint.path), "runner": "pooling", "dtype": "float32",
        "max-model-len": str(MAX_TOKENS + 1), "served-model-name": "p2l", "host": "127.0.0.1",
        "port": str(port),
        "hf-overrides": json.dumps({"architectures": ["P2LModel"],
                                    "max_position_embeddings": MAX_TOKENS + 1}),
    }  # fmt: skip
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, *flags, "--enforce-eager"],
            env=environ, cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            _until_up(url, server, tmp_path / "server.log")
            yield checkpoint, url
        finally:
            server.terminate()
            server.wait(timeout=60)


def _until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-4000:])


def test_a_vllm_server_behind_us(vllm_server: tuple[Checkpoint, str]) -> None:
    checkpoint, url = vllm_server
    ids = prompts_of(checkpoint)
    expected = coefficients(checkpoint, load_engine(checkpoint, "torch").features(ids))
    engine = load_engine(checkpoint, "vllm", EngineOptions(vllm_urls=(url,)))
    engine.warm_up()
    for batch in ([ids], [[one] for one in ids], [ids]):
        rows = np.concatenate([engine.features(part) for part in batch])
        assert np.abs(coefficients(checkpoint, rows) - expected).max() < TOLERANCE
    with pytest.raises(ScoringError, match="refused"):
        engine.features([[10**6]])
    assert len(engine.features([ids[0]])) == 1, "a bad prompt does not make the server ill"
    engine.close()
    with pytest.raises(CheckpointError, match="max-model-len"):
        load_engine(
            _with_limit(checkpoint, MAX_TOKENS * 2), "vllm", EngineOptions(vllm_urls=(url,))
        )


def _with_limit(checkpoint: Checkpoint, limit: int) -> Checkpoint:
    import copy
    from dataclasses import replace

    prompt = copy.copy(checkpoint.prompt)
    prompt.format = replace(prompt.format, max_tokens=limit)
    return replace(checkpoint, prompt=prompt)
