"""The servers that are compared: how each is started, and what it has used."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
CHAT = "/v1/chat/completions"
KEY = "sk-bench-0123456789abcdef"
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]

_OURS = """
providers:
  main: {{kind: openai, base_url: "http://127.0.0.1:{upstream}/v1", allow_private_addresses: true}}
models:
  fake-a: {{provider: main, leaderboard_name: gpt-4o-2024-05-13, input_usd_per_mtok: 5,
            output_usd_per_mtok: 15, context_window: 128000}}
  fake-b: {{provider: main, leaderboard_name: claude-3-5-sonnet-20240620, input_usd_per_mtok: 3,
            output_usd_per_mtok: 15, context_window: 128000}}
  fake-c: {{provider: main, leaderboard_name: gpt-4o-mini-2024-07-18, input_usd_per_mtok: 0.15,
            output_usd_per_mtok: 0.6, context_window: 128000}}
storage: {{url: "{storage}"}}
{scorer}
"""
_FIXED = (
    "scorer: {fixed: {gpt-4o-2024-05-13: 1.2, claude-3-5-sonnet-20240620: 1.0,"
    " gpt-4o-mini-2024-07-18: 0.6}}"
)
_BUDGETS = """
auth: {{keys: [{{name: bench, key_env: BENCH_KEY, budget_usd: {usd}, window_s: 86400}}]}}
"""


@dataclass
class Subject:
    """A server, or the provider itself. pid: None until it runs."""

    name: str
    port: int
    command: list[str]
    model: str = "fake-a"
    headers: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    varied: bool = False
    pid: int = 0
    log: Path = Path(os.devnull)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{CHAT}"

    def asked(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The plan of a load, with what this server wants of a request."""
        return {**plan, "model": self.model, "headers": self.headers, "varied": self.varied}

    def cpu_s(self) -> float:
        """CPU seconds so far, of all its processes and threads."""
        return sum(_cpu_ns(pid) for pid in _tree(self.pid)) / 1e9

    def rss_mb(self) -> float:
        return sum(_rss_bytes(pid) for pid in _tree(self.pid)) / 1e6


def provider(port: int) -> Subject:
    return Subject("direct", port, [sys.executable, str(HERE / "provider.py"), str(port)])


def minimal(port: int, upstream: int, python: str | None = None) -> Subject:
    """python: of an environment with nothing but fastapi, httpx, uvicorn, uvloop and httptools. It
    has no sniffio, which httpcore tries to import on each request; ours has it by way of others."""
    command = [python or sys.executable, "-m", "uvicorn", "minimal_proxy:app", "--app-dir"]
    command += [str(HERE), "--port", str(port), "--log-level", "warning", "--no-access-log"]
    environ = {"UPSTREAM": f"http://127.0.0.1:{upstream}/v1"}
    name = "minimal FastAPI + httpx proxy" + (", fresh install" if python else "")
    return Subject(name, port, command, environ=environ)


def ours(
    name: str,
    port: int,
    upstream: int,
    folder: Path,
    *more: str,
    usd: float = 1e6,
    extra: str = "",
    storage: str | None = None,
) -> Subject:
    """name: fixed (a leaderboard, no keys), budgets (the same, a key with a window of money and a
    budget on each request) or bundled (as budgets, with the checkpoint that comes along).
    more: flags of serve. usd: of the window. extra: more of the configuration. storage: a URL, else
    SQLite in the folder."""
    own = folder / f"{name}-{port}"
    own.mkdir()
    scorer = "" if name == "bundled" else _FIXED
    storage = storage or f"sqlite:///{own}/ledger.db"
    text = _OURS.format(upstream=upstream, storage=storage, scorer=scorer)
    config = own / "config.yaml"
    config.write_text(text + extra + ("" if name == "fixed" else _BUDGETS.format(usd=usd)))
    command = [str(BIN / "p2l-router"), "serve", "--config", str(config), "--port", str(port)]
    command += more
    subject = Subject(f"ours, {name}", port, command, model="p2l", environ={"BENCH_KEY": KEY})
    subject.varied = name == "bundled"
    if name != "fixed":
        subject.headers = {"Authorization": f"Bearer {KEY}", "X-Cost-Budget": "0.01"}
    return subject


def litellm(command: str, port: int, upstream: int, folder: Path) -> Subject:
    """command: the litellm of an environment of its own."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list: [{model_name: fake-a, litellm_params: {model: openai/fake-a, api_base: "
        f'"http://127.0.0.1:{upstream}/v1", api_key: x}}}}]\n'
    )
    arguments = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": KEY,
        "NO_DOCS": "True",
    }
    headers = {"Authorization": f"Bearer {KEY}"}
    command_line = [command, *arguments, "--num_workers", "1", "--telemetry", "False"]
    return Subject("LiteLLM proxy", port, command_line, headers=headers, environ=environ)


def portkey(package: str, port: int, upstream: int) -> Subject:
    """package: the folder where npm installed @portkey-ai/gateway. Its 1.15.2 answers 500 to every
    stream on newer versions of @hono/node-server: hold that at 1.3.3."""
    script = Path(package) / "node_modules/@portkey-ai/gateway/build/start-server.js"
    environ = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"}
    headers = {
        "Authorization": "Bearer x",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
    }
    command = ["node", str(script), f"--port={port}", "--headless"]
    return Subject("Portkey", port, command, headers=headers, environ=environ)


def run_load(url: str, plan: dict[str, Any]) -> dict[str, Any]:
    """What the clients of load.py saw, on a core of their own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py"), url, json.dumps(plan)],
        check=True,
        capture_output=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
    )
    cell: dict[str, Any] = json.loads(done.stdout)
    return cell


def measure(subject: Subject, plan: dict[str, Any]) -> dict[str, Any]:
    """One cell: what the clients saw, and what the server used meanwhile, by chunk where there are
    some."""
    before_s = subject.cpu_s()
    cell = run_load(subject.url, subject.asked(plan))
    used_us = (subject.cpu_s() - before_s) * 1e6
    cell["cpu_us"] = used_us / max(1, cell["chunks"] or cell["requests"])
    cell["rss_mb"] = subject.rss_mb()
    return cell


def spawn(subject: Subject, folder: Path, log: BinaryIO, *cores: int) -> subprocess.Popen[bytes]:
    """The subject's process, which may not be ready yet."""
    process = subprocess.Popen(
        subject.command,
        cwd=folder,
        env={**os.environ, **subject.environ},
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, set(cores)),
    )
    subject.pid = process.pid
    return process


@contextmanager
def running(
    subject: Subject, core: int, folder: Path, *more_cores: int, limit_s: float = 120
) -> Iterator[Subject]:
    """Started on one core or several, and ended with all that it started."""
    subject.log = folder / f"{subject.port}.log"
    log = subject.log.open("wb")
    process = spawn(subject, folder, log, core, *more_cores)
    try:
        _wait_for(subject, process, limit_s)
        yield subject
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(subject: Subject, process: subprocess.Popen[bytes], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{subject.name} ended: {subject.log.read_text()[-500:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{subject.port}/", timeout=1):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{subject.name} did not start")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
