"""A newcomer follows the README from a fresh clone to an answer within a budget: its commands and
its snippets, and nothing else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from agent_clients import CLIENTS
from fake_provider import FakeProvider
from services import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
KEY = "sk-newcomer-canary"
OFFERED = ("gpt-5.6-sol", "gpt-6-luna")
# How the machine reaches packages is the machine's own business.
_MACHINE = re.compile(r"PATH|PIP_.*|UV_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|.*_proxy|.*_PROXY|LANG")
_NO_PACKAGES = ("Could not fetch URL", "No matching distribution", "Connection error", "ProxyError")


def environment(home: Path) -> dict[str, str]:
    own = {n: v for n, v in os.environ.items() if _MACHINE.fullmatch(n)}
    return own | {"HOME": str(home), "NO_PROXY": "127.0.0.1", "OPENAI_API_KEY": KEY}


def block(language: str) -> str:
    (only,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(only)


def indented(title: str) -> str:
    section = README.split(f"## {title}\n")[1].split("\n## ")[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))


def made(clone: Path, environ: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        ["make", *words], cwd=clone, env=environ, capture_output=True, text=True, check=False
    )
    if any(word in done.stderr for word in _NO_PACKAGES):
        pytest.skip("packages cannot be installed here")
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(clone: Path, environ: dict[str, str]) -> Iterator[str]:
    """`make serve` on a free port."""
    port = free_port()
    log = clone / "serve.log"
    with (
        log.open("w") as said,
        subprocess.Popen(
            ["make", "serve", f"PORT={port}"], cwd=clone, env=environ, stdout=said,
            stderr=said, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                if f"serves {url}/v1" in log.read_text():
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_the_readme_takes_two_screens() -> None:
    assert 500 <= len(README.split()) <= 800
    assert block("sh").count("make ") == 2
    assert README.count("](docs/") <= 12


@pytest.mark.slow
def test_from_a_clone_to_the_first_answer_within_a_budget(tmp_path: Path) -> None:
    clone, environ = tmp_path / "p2l-router", environment(tmp_path)
    began = time.monotonic()
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(clone)], check=True)
    with FakeProvider(models=OFFERED, api_key=KEY) as provider:
        words = f"ARGS=--yes --provider openai={provider.base_url}"
        assert [line.split()[:2] for line in block("sh").splitlines()] == [
            ["make", "init"], ["make", "serve"],
        ]  # fmt: skip
        said = made(clone, environ, "init", words)
        assert "Written: p2l-router.yaml" in said
        with serving(clone, environ) as url:
            ready = time.monotonic()
            snippet = block("python").replace("http://127.0.0.1:8000", url)
            answer = subprocess.run(
                [sys.executable, "-c", snippet], env=environ, capture_output=True, text=True,
                check=True,
            ).stdout.split()  # fmt: skip
            print(f"clone to serving: {ready - began:.1f} s, "
                  f"to the answer: {time.monotonic() - began:.1f} s")  # fmt: skip
            assert answer[0] in OFFERED
            assert 0 < float(answer[1]) <= 0.05
            assert 0 < float(answer[2]) < 1
            assert provider.chats[-1].body["model"] == answer[0]
            spent = httpx.get(f"{url}/v1/key", trust_env=False)
            assert spent.status_code == 200
            assert KEY not in (clone / "serve.log").read_text()
            assert KEY not in (clone / "p2l-router.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("title", "client"), [("Claude Code", "claude-code"), ("Codex", "codex")])
def test_the_lines_for_agents_work(tmp_path: Path, title: str, client: str) -> None:
    """The agent answers by what the gateway gives it."""
    agent = CLIENTS[client]
    if agent.missing is not None:
        pytest.skip(agent.missing)
    environ = agent.environment(tmp_path, {"url": "", "key": "", "model": "", "prompt": ""})
    environ = {n: environ[n] for n in ("PATH", "HOME", "LANG", "TERM", "NO_PROXY")}
    environ |= {"PATH": f"{agent.binary.parent}:{environ['PATH']}", "IS_SANDBOX": "1",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}  # fmt: skip
    with FakeProvider(models=OFFERED, api_key=KEY) as provider:
        config = tmp_path / "config.yaml"
        command = [sys.executable, "-m", "server", "init", "--yes", "--out", str(config),
                   "--provider", f"openai={provider.base_url}"]  # fmt: skip
        own = {"PATH": "", "HOME": str(tmp_path), "OPENAI_API_KEY": KEY}
        subprocess.run(command, env=own, capture_output=True, check=True)
        from live_gateway import LiveGateway

        with LiveGateway(config.read_text(), {"OPENAI_API_KEY": KEY}) as gateway:
            lines = indented(title).replace("http://127.0.0.1:8000", gateway.url)
            lines = re.sub(
                r"^codex ", "codex exec --skip-git-repo-check ", lines, flags=re.MULTILINE
            )
            lines += " -p 'Say hello.'" if client == "claude-code" else " 'Say hello.'"
            done = subprocess.run(
                ["bash", "-euc", lines], env=environ, cwd=tmp_path, capture_output=True, text=True,
                check=False, stdin=subprocess.DEVNULL, timeout=300,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            assert provider.chats, done.stdout + done.stderr
            texts = [request.body["model"] for request in provider.chats]
            assert set(texts) <= set(OFFERED), json.dumps(texts)
