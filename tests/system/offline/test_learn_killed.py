"""`kill -9` at any moment of a run: it goes on, and nothing is paid twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from known_models import MODELS, KnownModels, config, write_prompts
from serve_process import COMMAND

from server.ledger.attempt import Outcome, usd
from server.storage.database import Database
from server.storage.schema import attempts

SEED = 5
N_KILLS = 6
SPEND = "1.5"


class Learning:
    """The command as a process of its own."""

    def __init__(self, folder: Path, provider: KnownModels) -> None:
        self.out = folder / "out"
        self.journal = self.out / "journal.jsonl"
        self.ledger = folder / "ledger.db"
        configured = folder / "config.yaml"
        configured.write_text(config(provider.base_url, self.ledger))
        prompts = write_prompts(folder / "prompts.jsonl", 24)
        self._command = [
            *(str(COMMAND), "learn", "--config", str(configured), "--prompts", str(prompts)),
            *("--spend", SPEND, "--judge", "glm-5.3", "--out", str(self.out), "--json"),
            *("--models", ",".join(one.name for one in MODELS)),
        ]
        self._environ = {"PATH": os.environ["PATH"], "MAIN_KEY": "k", "PYTHONWARNINGS": "error"}
        self._environ |= {n: v for n, v in os.environ.items() if n.startswith("COVERAGE_")}

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def kill_after(self, n_lines: int) -> bool:
        """Kills a start once it has written so many lines. False where it ended before."""
        process, n_before = self.start(), self.n_lines()
        deadline = time.monotonic() + 60
        while self.n_lines() < n_before + n_lines and process.poll() is None:
            assert time.monotonic() < deadline, "it writes nothing"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def finish(self) -> dict[str, Any]:
        process = self.start()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        found: dict[str, Any] = json.loads(out)
        return found

    def n_lines(self) -> int:
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def attempts(self) -> list[Any]:
        database = Database(f"sqlite:///{self.ledger}")
        with database.begin() as connection:
            rows = connection.execute(attempts.select()).all()
        database.close()
        return list(rows)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with KnownModels(delay_s=0.01) as provider:
        learning = Learning(tmp_path, provider)
        n_killed = sum(learning.kill_after(chance.randint(1, 70)) for _ in range(N_KILLS))
        assert n_killed >= 4
        summary = learning.finish()
        asked = Counter(json.dumps(one.body, sort_keys=True) for one in provider.chats)
        assert max(asked.values()) == 1
    rows = learning.attempts()
    assert {row.outcome for row in rows} <= {Outcome.ANSWERED.value, Outcome.LOST.value}
    n_lost = sum(row.outcome == Outcome.LOST.value for row in rows)
    # What was answered just before a kill may be lost too: it is in the ledger, not in the journal.
    assert n_lost <= summary["n_lost"] <= n_killed * 8
    answered = [json.loads(line) for line in learning.journal.read_text().splitlines()]
    n_answers = sum(line["do"] == "answer" for line in answered)
    assert n_answers + summary["n_lost"] == len(rows)
    spent = sum(
        usd(row.reserved_pico if row.outcome == Outcome.LOST.value else row.cost_pico)
        for row in rows
    )
    assert Decimal("0.3") < spent <= Decimal(SPEND)
    assert summary["spent_usd"] == pytest.approx(float(spent))


@pytest.mark.slow
def test_an_interrupt_lets_the_calls_in_progress_end(tmp_path: Path) -> None:
    with KnownModels(delay_s=0.2) as provider:
        learning = Learning(tmp_path, provider)
        process = learning.start()
        deadline = time.monotonic() + 60
        while learning.n_lines() < 10:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        summary = json.loads(out)
        assert summary["stopped"] == "user"
        assert summary["n_lost"] == 0
        assert {row.outcome for row in learning.attempts()} == {Outcome.ANSWERED.value}
        assert not any(one.aborted for one in provider.chats)
