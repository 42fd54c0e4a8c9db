"""One agent in one scenario: a fresh gateway, a fresh home, the job, and what came of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from agent_clients import Client
from agent_job import Job, Worker, bulky_job, long_job, whole_job
from between import Between, Exchange
from playing import PlayingClaude, PlayingGemini, PlayingOpenAI, PlayingVllm, Stage, Strike
from serve_process import ServeProcess
from stored_attempts import rows as ledger_rows

KEY = "sk-agents-0123456789abcdef"
_PRICES = {
    "gpt-6.1-sol": ("openai", 2, 10, 1.6),
    "claude-opus-5-5": ("anthropic", 4, 20, 1.5),
    "gemini-3.8-flash": ("gemini", 0.75, 3.75, 1.2),
    "claude-haiku-5-5": ("anthropic", 0.1, 0.5, 0.6),
    "qwen3-coder": ("vllm", 0.2, 0.8, 0.3),
}
# Between what a turn costs at the two models of the profile, so that both are drawn.
_BUDGET = {"budget_usd": 0.012, "models": ["gpt-6.1-sol", "qwen3-coder"]}
_ROTATION = ("claude-opus-5-5", "gpt-6.1-sol", "gemini-3.8-flash", "qwen3-coder")
_SPACES = 5.0


@dataclass(frozen=True)
class Scenario:
    """model: that the client asks for; `alias`: its own. turns: the model of each turn. windowed:
    all models have the client's small window of context. keeps: a change of model within the loop
    of tools would be a fault. scored: prompts are scored by the bundled checkpoint."""

    says: str
    model: str = "p2l"
    job: Callable[[Path], Job] = Job
    turns: Sequence[str] = ()
    strikes: Sequence[Mapping[str, Any]] = ()
    windowed: bool = False
    keeps: bool = False
    scored: bool = False
    timeout_s: float = 180.0


SCENARIOS = {
    "plain": Scenario("routed, without a budget", keeps=True),
    "alias": Scenario("its own model's name is an alias of p2l", model="alias", keeps=True),
    "budget": Scenario(
        "a mean budget that mixes two models, over twenty turns",
        model="p2l:budget", job=long_job, timeout_s=300.0,
    ),
    "rotate": Scenario("the model of another provider every turn", turns=_ROTATION),
    "429": Scenario(
        "the provider that is asked first answers 429 four times",
        strikes=({"kind": "429", "count": 4, "one": True},),
    ),
    "500": Scenario(
        "the provider that is asked first answers 500 four times",
        strikes=({"kind": "500", "count": 4, "one": True},),
    ),
    "cut": Scenario("one stream breaks in its middle", strikes=({"kind": "cut", "skip": 1},)),
    "context": Scenario(
        "the window of context holds the first turns only",
        job=bulky_job, windowed=True, timeout_s=300.0,
    ),
}  # fmt: skip
# No trial: a job of a realistic length, to be recorded.
RECORDED = "recorded"
_RECORDED = Scenario(
    "forty-four turns, scored by the bundled checkpoint",
    job=whole_job,
    keeps=True,
    scored=True,
    timeout_s=900.0,
)


@dataclass
class Row:
    """What came of it. problems: all for which it falls short; refused: by providers, in their
    words; changes: of the model within the loop of tools."""

    client: str
    scenario: str
    problems: list[str] = field(default_factory=list)
    status: int | None = None
    seconds: float = 0.0
    n_requests: int = 0
    n_tokens: int = 0
    n_bytes: int = 0
    changes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        """Whether all is as it should be."""
        return not self.problems


def run_row(client: Client, name: str, folder: Path) -> Row:
    """Runs one and judges it; nothing of it goes on. folder: an empty one, in which all is kept."""
    scenario = _RECORDED if name == RECORDED else SCENARIOS[name]
    row = Row(client.name, name)
    if scenario.model == "alias" and client.alias is None:
        scenario = SCENARIOS["plain"]  # it has no model of its own
    job = scenario.job(folder / "work")
    strikes = [Strike(**strike) for strike in scenario.strikes]
    stage = Stage(Worker(job), strikes)
    began = time.monotonic()
    with ExitStack() as stack:
        urls = {
            "openai": stack.enter_context(PlayingOpenAI(stage)).base_url,
            "anthropic": stack.enter_context(PlayingClaude(stage)).base_url,
            "gemini": stack.enter_context(PlayingGemini(stage)).base_url,
            "vllm": stack.enter_context(PlayingVllm(stage)).base_url,
        }
        window = client.window if scenario.windowed else None
        settings = gateway_config(urls, folder, window)
        if scenario.scored:
            del settings["scorer"]
        config = yaml.safe_dump(settings, sort_keys=False)
        with ServeProcess(folder, config, environ=_KEYS) as gateway:
            between = stack.enter_context(Between(gateway.url, scenario.turns))
            _play(client, scenario, job, between.url, folder, row)
    row.seconds = time.monotonic() - began
    _judge(row, scenario, job, stage, between.exchanges, folder)
    _write(folder, between.exchanges, stage)
    return row


_KEYS = {"AGENT_KEY": KEY, "PROVIDER_KEY": "sk-provider"}


def gateway_config(urls: Mapping[str, str], folder: Path, window: int | None) -> dict[str, Any]:
    """Everything that a decision depends on: neither a checkpoint nor a list of prices is asked."""
    kinds = {"anthropic": "anthropic", "gemini": "gemini"}
    providers: dict[str, Any] = {
        name: {
            "kind": kinds.get(name, "openai"), "base_url": url, "api_key_env": "PROVIDER_KEY",
            "allow_private_addresses": True,
        }
        for name, url in urls.items()
    }  # fmt: skip
    providers["openai"] |= {"profile": "openai", "responses": True}
    providers["vllm"] |= {"profile": "vllm"}
    models: dict[str, Any] = {
        name: {
            "provider": provider, "input_usd_per_mtok": dear, "output_usd_per_mtok": dearer,
            "expected_output_tokens": 1_000,
        }
        for name, (provider, dear, dearer, _) in _PRICES.items()
    }  # fmt: skip
    for model in models.values():
        model["context_window"] = window or 400_000
    return {
        "providers": providers,
        "models": models,
        "aliases": {"claude-*": "p2l", "gpt-*": "p2l"},
        "routing": {"profiles": {"budget": _BUDGET}},
        "scorer": {"fixed": {name: strength for name, (*_, strength) in _PRICES.items()}},
        "storage": {"url": f"sqlite:///{folder}/ledger.db"},
        "auth": {"keys": [{"name": "agent", "key_env": "AGENT_KEY"}]},
    }


def _play(client: Client, scenario: Scenario, job: Job, url: str, folder: Path, row: Row) -> None:
    model = (client.alias or "") if scenario.model == "alias" else scenario.model
    words = {
        "codex_model": f'model = "{model}"' if model else "",
        "tell_window": client.window_line if scenario.windowed else "",
        "window": str(client.window), "url": url, "key": KEY, "model": model,
        "prompt": job.prompt, "home": str(folder / "home"),
    }  # fmt: skip
    home = folder / "home"
    client.settle(home, words)
    environ = client.environment(home, words)
    with (folder / "client.out").open("wb") as out, (folder / "client.err").open("wb") as err:
        process = subprocess.Popen(
            client.started_by(words), cwd=job.folder, env=environ, stdin=subprocess.DEVNULL,
            stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            row.status = process.wait(scenario.timeout_s)
        except subprocess.TimeoutExpired:
            row.problems.append(f"it did not end within {scenario.timeout_s:.0f} s")
        finally:
            _end(process, home)


def _end(process: subprocess.Popen[bytes], home: Path) -> None:
    """It, its session, and what it has left in sessions of their own: known by its home."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SPACES)
    for pid in _left_behind(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _left_behind(home: Path) -> Iterator[int]:
    mark = f"HOME={home}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def _judge(
    row: Row,
    scenario: Scenario,
    job: Job,
    stage: Stage,
    exchanges: Sequence[Exchange],
    folder: Path,
) -> None:
    asked = [exchange for exchange in exchanges if exchange.method == "POST"]
    row.n_requests = len(asked)
    row.n_bytes = max((exchange.bytes_sent for exchange in asked), default=0)
    row.errors = Counter(
        f"{e.status} {e.error}" for e in asked if e.error is not None or e.status >= 400
    )
    row.refused = Counter(f"{s.model}: {s.refused}" for s in stage.served if s.refused)
    turns = [e.model for e in asked if e.offers_tools and e.model is not None]
    row.models = Counter(turns)
    row.changes = sum(a != b for a, b in itertools.pairwise(turns))
    if not job.is_done:
        row.problems.append("the job is not done")
    for said in sorted({s.refused for s in stage.served if s.refused}):
        if any(said[:60] in (exchange.error or "") for exchange in asked):
            row.problems.append(f"a provider's refusal reached the client: {said}")
    if scenario.keeps and row.changes:
        row.problems.append(f"the model changed {row.changes} times within the loop of tools")
    row.problems += list(_ledger_problems(row, stage, folder))


def _ledger_problems(row: Row, stage: Stage, folder: Path) -> Iterator[str]:
    """Every request that a provider took is a row, every whole answer is there with its tokens.
    What was refused may have been asked again within one attempt."""
    booked = ledger_rows(f"sqlite:///{folder}/ledger.db")
    taken = sum(served.refused is None for served in stage.served)
    if not taken <= len(booked) <= len(stage.served):
        yield f"ledger: {len(booked)} rows for {len(stage.served)} requests, {taken} of them taken"
    is_open = sum(one.outcome == "open" for one in booked)
    if is_open:
        yield f"ledger: {is_open} rows are open"
    whole = Counter(
        (s.model, s.prompt_tokens, s.completion_tokens) for s in stage.served if s.is_whole
    )
    known = Counter((one.model, one.prompt_tokens, one.completion_tokens) for one in booked)
    row.n_tokens = sum((into + out) * n for (_, into, out), n in whole.items())
    for model, into, out in sorted((whole - known).elements()):
        yield f"ledger: {model} served {into} and {out} tokens, which are not booked"


def _write(folder: Path, exchanges: Sequence[Exchange], stage: Stage) -> None:
    """What was sent, for those who look for a fault."""
    (folder / "client.txt").write_text("".join(f"{exchange}\n" for exchange in exchanges))
    with (folder / "providers.txt").open("w") as file:
        for served in stage.served:
            file.write(f"{served.provider} {served.model} {served.struck or served.refused}\n")
            file.write(f"    {str(served.recorded.body)[:20_000]}\n")


def told(folder: Path) -> str:
    """The last that the client said."""
    return "\n".join(
        (folder / name).read_text(errors="replace")[-1_500:]
        for name in ("client.out", "client.err")
        if (folder / name).exists()
    )
