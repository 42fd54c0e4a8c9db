"""The command line: what a user is told, and with which status."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from command_line import p2l_router

from server.cli import main

COMMAND = str(Path(sys.executable).parent / "p2l-router")
CONFIG = """
providers: {main: {kind: sandbox}, other: {kind: sandbox}}
models:
  dear: {provider: main, input_usd_per_mtok: 5, output_usd_per_mtok: 15}
  cheap: {provider: main, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.3}
  strange: {provider: other}
scorer: {fixed: {dear: 1, cheap: -1}}
"""


def result(*args: str, stdin: str = "") -> Any:
    done = p2l_router(*args, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize("verb", ["serve", "model"])
@pytest.mark.parametrize("text", ["65536", "99999", "-1", "x"])
def test_a_port_that_is_none_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, text: str
) -> None:
    for environ, flags in (({}, [f"--port={text}"]), ({"P2L_PORT": text}, [])):
        monkeypatch.delenv("P2L_PORT", raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as stopped:
            main([verb, *flags])
        assert stopped.value.code == 2
        assert "must be a port from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [[COMMAND], pytest.param([sys.executable, "-m", "server"], marks=pytest.mark.slow)]
)
def test_it_says_its_version(command: list[str]) -> None:
    """The programs themselves, which everything else here calls main() for."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"p2l-router {version('p2l-router')}\n"
    done = subprocess.run([*command, "fly"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def test_leaderboard_of_an_argument() -> None:
    board = result("leaderboard", "What is 12 * 12?", "--top", "3")
    assert [row["rank"] for row in board["data"]] == [1, 2, 3]
    assert board["family"] == "grk"


@pytest.mark.slow
def test_a_leaderboard_of_all_models_has_placed_ones() -> None:
    own = result("leaderboard", "What is 12 * 12?")["data"]
    board = result("leaderboard", "What is 12 * 12?", "--models", "all")["data"]
    assert [row["rank"] for row in board] == list(range(1, len(board) + 1))
    coefficients = [row["coefficient"] for row in board]
    assert coefficients == sorted(coefficients, reverse=True)
    by_name = {row["model"]: row for row in board}
    assert len(by_name) == len(board) > len(own) + 100
    for row in own:
        assert by_name[row["model"]] == row | {
            "rank": by_name[row["model"]]["rank"], "placed": False, "sd": 0.0
        }  # fmt: skip
    added = [row for row in board if row["model"] not in {one["model"] for one in own}]
    assert all(row["placed"] and row["sd"] > 0.1 and 0 < row["win_rate"] < 1 for row in added)
    assert "gpt-6.1-sol" in {row["model"] for row in added}
    shown = p2l_router("leaderboard", "Hello", "--models", "all", "--top", "400").stdout
    assert "placed" in shown
    assert "own column" in shown


def test_a_leaderboard_of_named_models() -> None:
    board = result("leaderboard", "Hello", "--models", "gpt-5.2, gpt-6.1-sol,our-own")["data"]
    assert {row["model"]: row["placed"] for row in board} == {
        "gpt-5.2": False, "gpt-6.1-sol": True, "our-own": True
    }  # fmt: skip
    sds = {row["model"]: row["sd"] for row in board}
    assert sds["gpt-5.2"] == 0 < sds["gpt-6.1-sol"] < sds["our-own"]


def test_many_prompts_give_data(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    lines = [{"prompt": "a"}, {"messages": [{"role": "user", "content": "b"}]}]
    path.write_text("\n".join(map(json.dumps, lines)))
    boards = result("leaderboard", "--file", str(path), "--top", "1")["data"]
    assert len(boards) == 2
    assert result("leaderboard", "-", "--top", "1", stdin="plain\ntext")["object"] == "leaderboard"


def test_route_respects_budget_and_seed(config: str) -> None:
    args = ("route", "Hello", "--config", config, "--budget", "0.002", "--seed", "7")
    decision = result(*args)
    assert decision["mix_expected_cost_usd"] <= 0.002
    assert set(decision["mix"]) == {"dear", "cheap"}
    assert result(*args)["model"] == decision["model"]


def test_check_says_what_is_missing(config: str) -> None:
    report = result("check", "--config", config)
    routed = {row["model"]: row["routed"] for row in report["models"]}
    assert routed == {"dear": True, "cheap": True, "strange": True}
    assert report["without_price"] == ["strange"]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_an_objective_that_cannot_be_served_stops_at_once(
    command: str, config: str, tmp_path: Path
) -> None:
    path = tmp_path / "graded.yaml"
    rules = "routing: {profiles: {exam: {objective: expected_score}}}\n"
    path.write_text(Path(config).read_text() + rules)
    done = p2l_router(command, "--config", str(path))
    assert done.returncode == 2
    assert "routing.profiles.exam.objective: expected_score needs" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["leaderboard"], "give a prompt"),
        (["leaderboard", "x", "--models", "a,,b"], "--models"),
        (["leaderboard", "--file", "/nonexistent"], "cannot be read"),
        (["leaderboard", "x", "--checkpoint", "/nonexistent"], "is this a checkpoint folder"),
        (["route", "x", "--budget", "many"], "invalid_cost_budget: --budget must be one"),
        (["route", "x", "--budget", "0,002"], "Write 0.002 with a point."),
        (["route", "x", "--budget", "0"], "budget_infeasible"),
        (["check", "--config", "/nonexistent.yaml"], "cannot be read"),
        (["serve", "--host", "0.0.0.0"], "add a key under auth.keys"),
        (["train", "--data", "/nonexistent", "--out", "/tmp/none"], "no such file"),
        (["train", "--data", "/nonexistent", "--out", "x", "--family", "elo"], "family"),
        (["evaluate", "--data", "/nonexistent"], "no such file"),
        (["fly"], "invalid choice"),
        ([], "usage"),
    ],
)
def test_bad_input_exits_with_2_and_says_what_to_do(args: list[str], said: str) -> None:
    done = p2l_router(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_receipt_is_replayed(config: str, tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    secret = "the word is plover"
    done = p2l_router(
        "route", secret, "--config", config, "--budget", "0.002", "--receipt", str(path)
    )
    assert done.returncode == 0, done.stderr
    assert "plover" not in path.read_text()
    assert p2l_router("replay", str(path)).stdout.startswith("The same, bit for bit: ")
    told = result("replay", "-", stdin=path.read_text())
    assert told["same"] is True
    receipt = json.loads(path.read_text())
    receipt["catalogue"][0]["prices"]["input_usd_per_mtok"] = "1000"
    path.write_text(json.dumps(receipt))
    changed = p2l_router("replay", str(path))
    assert changed.returncode == 1
    assert "recorded" in changed.stdout
    assert p2l_router("replay", str(tmp_path / "none.json")).returncode == 2
    path.write_text("[]")
    assert "not a receipt" in p2l_router("replay", str(path)).stderr
