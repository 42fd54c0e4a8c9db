"""`p2l-router simulate --sessions` on a file of recorded jobs."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from job_lines import job

from server.cli import main
from server.config.file import load_settings
from server.offline.jobs.comparison import SESSIONS, Terms, compare
from server.offline.jobs.line import read_jobs

JOBS = Path(__file__).parents[3] / "studies" / "jobs"
RECORDED = sorted(JOBS.glob("*.jsonl"))
CONFIG = """
providers:
  main: {kind: openai, base_url: "http://127.0.0.1:9/v1", api_key_env: NOT_SET,
         allow_private_addresses: true}
models:
  dear: {provider: main, leaderboard_name: dear-lb, input_usd_per_mtok: 4, output_usd_per_mtok: 20}
  cheap: {provider: main, leaderboard_name: cheap-lb, input_usd_per_mtok: 0.4,
          output_usd_per_mtok: 2}
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command line for two jobs."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    lines = [one.line() + b"\n" for number in (1, 2) for one in job(number, 4)]
    (tmp_path / "jobs.jsonl").write_bytes(b"".join(lines))
    return [
        *("simulate", "--sessions", str(tmp_path / "jobs.jsonl")),
        *("--config", str(tmp_path / "config.yaml")),
    ]


def test_rules_are_compared_at_budgets_and_values_of_a_win(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = ["--budgets", "0.006,0.02", "--wins", "0.1", "--session-budgets", "0.5"]
    terms += ["--out", str(tmp_path / "out")]
    assert main([*command, *terms, "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["jobs"], found["requests"]) == (2, 8)
    assert len(found["results"]) == 4 * 4
    names = ("budget_usd", "usd_per_win", "session_budget_usd")
    asked = {tuple(row[name] for name in names) for row in found["results"]}
    assert asked == {
        *((0.006, None, None), (0.02, None, None), (None, 0.1, None), (None, None, 0.5)),
    }
    assert json.loads((tmp_path / "out" / "sessions.json").read_text()) == found
    assert "recorded jobs (bytes): " in told.err, "progress is told"


def test_without_terms_the_configured_rules_count(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    table = capsys.readouterr().out
    for text in ("2 jobs of 8 requests", "as configured", "sessions", "never changing",
                 "each request", "dear alone"):  # fmt: skip
        assert text in table


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--budgets", "0.01,none"], "--budgets: '0.01,none' must be amounts in USD above 0"),
        (["--wins", "0"], "--wins: '0' must be amounts in USD above 0"),
    ],
)
def test_bad_amounts_are_told(
    command: list[str], flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *flags]) == 2
    assert told in capsys.readouterr().err


def test_flags_of_sessions_do_not_count_for_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--scores", "none.csv", "--budgets", "0.01"]) == 2
    assert "--budgets counts with --sessions only" in capsys.readouterr().err


def test_a_bad_line_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "jobs.jsonl").open("ab") as file:
        file.write(b'{"version": 1, "prompt": "canarytext"}\n')
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "jobs.jsonl: line 9: session: Field required" in said
    assert "canarytext" not in said


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_jobs_of_real_agents_hold_no_text(path: Path) -> None:
    """Names of models and hashes are the only words: the forms of the lines allow no others."""
    lines = list(read_jobs(path))
    assert len(lines) >= 40
    assert {one.session for one in lines} == {lines[0].session}
    assert sum(one.tool_loop for one in lines) >= 40
    assert sum(one.scored for one in lines) / len(lines) < 0.15
    for word in ("sums", "mend", "look", "/tmp", "/work", "/root"):
        assert word not in path.read_text()


@pytest.mark.slow
def test_sessions_of_real_agents_keep_their_tool_loops() -> None:
    settings = load_settings(JOBS / "models.yaml")
    lines = (line for path in RECORDED for line in read_jobs(path))
    terms = [Terms(budget_usd=Decimal("0.02")), Terms(usd_per_win=Decimal("0.2"))]
    found = asyncio.run(compare(lines, settings, terms))
    assert found.n_jobs == 4
    for result in found.results:
        told = found.figures(result)
        assert told["refused"] == 0
        if result.rule == SESSIONS:
            assert told["tool_loop_changes"] == 0
            assert told["scored"] < 0.15
            assert told["prefix_read"] > 0.95


def test_jobs_of_four_agents_are_recorded() -> None:
    assert [path.stem for path in RECORDED] == ["claude-code", "codex", "opencode", "qwen-code"]
