"""Nobody hears from us whom the user has not configured: no library's telemetry, no update check.

Each verb runs as a process of its own, and whatever it looks up or connects to is written down.
"""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from compose_stack import DEPLOY
from outward import Outward, outward
from serve_process import COMMAND, ServeProcess
from tiny_checkpoint import write_base
from toy_votes import write_votes

# onnxruntime's telemetry first speaks about nine seconds after its first session.
LISTENED_S = 12.0
SANDBOX = "providers: {here: {kind: sandbox}}\nmodels: {gpt-4o-2024-08-06: {provider: here}}"


@pytest.fixture
def heard(tmp_path: Path) -> Outward:
    folder = tmp_path / "heard"
    folder.mkdir()
    return outward(folder)


def run(heard: Outward, *words: str) -> str:
    """What the process printed. It has the warmest welcome: no variable says no for it."""
    done = subprocess.run(
        [*words],
        cwd=heard.folder,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **heard.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_nobody_heard(heard: Outward) -> None:
    assert heard.strangers == []
    assert [path for path in heard.home.rglob("*") if "Microsoft" in path.parts] == []


@pytest.mark.slow
def test_the_recorder_sees_python_and_native_code(heard: Outward) -> None:
    run(heard, sys.executable, "-c", "import socket; socket.getaddrinfo('localhost', 1)")
    assert heard.strangers == []
    libc = ctypes.util.find_library("c")
    looks_up = f"import ctypes; ctypes.CDLL({libc!r}).getaddrinfo"
    native = "(b'native.example', None, None, None)"
    # through the process's own symbols, as a library that is linked against libc has them
    run(heard, sys.executable, "-c", looks_up.replace(repr(libc), "None") + native)
    python = (
        "import contextlib, socket\n"
        "with contextlib.suppress(OSError): socket.create_connection(('python.example', 80))\n"
        "with contextlib.suppress(OSError): socket.create_connection(('192.0.2.1', 80))\n"
        "s = socket.socket(type=socket.SOCK_DGRAM)\n"
        "with contextlib.suppress(OSError): s.sendto(b'x', ('192.0.2.2', 53))"
    )
    run(heard, sys.executable, "-c", python)
    assert {"name native.example", "name python.example"} <= set(heard.strangers)
    assert "sendto 192.0.2.2 port 53" in heard.strangers


@pytest.mark.slow
@pytest.mark.parametrize("config", [None, SANDBOX], ids=["default", "configured"])
def test_serve_speaks_to_nobody(heard: Outward, tmp_path: Path, config: str | None) -> None:
    body = {"model": "p2l", "messages": [{"role": "user", "content": "Write a sonnet on bread."}]}
    with ServeProcess(tmp_path, config, environ=heard.environ) as gateway:
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as http:
            assert http.post("/v1/chat/completions", json=body).status_code == 200
            assert http.post("/v1/responses", json={"model": "p2l", "input": "x"}).is_success
            for path in ("/", "/metrics", "/v1/models"):
                assert http.get(path).status_code == 200
        time.sleep(LISTENED_S if config is None else 0)
    assert_nobody_heard(heard)


@pytest.mark.slow
def test_leaderboard_speaks_to_nobody(heard: Outward) -> None:
    assert "gpt" in run(heard, str(COMMAND), "leaderboard", "Write a sonnet on bread.")
    assert_nobody_heard(heard)


@pytest.mark.slow
def test_train_and_evaluate_speak_to_nobody(heard: Outward, tmp_path: Path) -> None:
    votes = write_votes(tmp_path / "votes.jsonl", 60, 0)
    options = tmp_path / "train.yaml"
    options.write_text("{max_tokens: 48, l2: [0.1], finetune: {epochs: 1}, trunk: {epochs: 1}}")
    base, out = str(write_base(tmp_path / "base")), str(tmp_path / "checkpoint")
    data = ("--data", str(votes))
    run(heard, str(COMMAND), "train", *data, "--base", base, "--out", out, "--config", str(options))
    for engine in ("onnx", "torch"):
        evaluate = (str(COMMAND), "evaluate", "--checkpoint", out, *data, "--engine", engine)
        run(heard, *evaluate, "--out", str(tmp_path / engine))
    assert_nobody_heard(heard)


def test_grafana_of_the_compose_file_is_told_not_to_call_home() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    told = services["grafana"]["environment"]
    for part in ("ANALYTICS_REPORTING", "NEWS_NEWS_FEED"):
        assert told[f"GF_{part}_ENABLED"] == "false"
    for part in ("UPDATES", "PLUGIN_UPDATES"):
        assert told[f"GF_ANALYTICS_CHECK_FOR_{part}"] == "false"
    for part in ("PLUGINS_PREINSTALL_DISABLED", "SECURITY_DISABLE_GRAVATAR"):
        assert told[f"GF_{part}"] == "true", "neither plugins nor pictures are fetched"
