"""`p2l-router learn` against a provider whose models have known strengths."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_line import Done, p2l_router
from known_models import (
    JUDGE,
    MODELS,
    Fault,
    KnownModels,
    Leaning,
    config,
    quality,
    write_prompts,
)
from live_gateway import LiveGateway

from p2l_model.data.files import load_votes
from p2l_model.data.tables import read_columns
from p2l_model.evaluation.local import graded_rows
from server.ledger.attempt import usd
from server.offline.simulate.table import load_prices, load_scores
from server.storage.database import Database
from server.storage.grades import latest_grades
from server.storage.schema import attempts
from server.storage.spend import spend
from server.tasks.learn_local import lessons_of

THREE = "gpt-6.1-sol,gpt-6-luna,claude-haiku-5-5"
ALL = "--judge", JUDGE.name, "--models", ",".join(one.name for one in (*MODELS, JUDGE))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Place:
    """A folder with a configuration and prompts, and the command run there."""

    def __init__(self, folder: Path, provider: KnownModels, more: str = "") -> None:
        self.folder = folder
        self.out = folder / "out"
        self.ledger = folder / "ledger.db"
        self.config = folder / "config.yaml"
        self.config.write_text(config(provider.base_url, self.ledger) + more)

    def learn(self, *flags: str, n: int = 8, checked: bool = True, usd: str = "5") -> Done:
        prompts = write_prompts(self.folder / "prompts.jsonl", n, checked=checked)
        fixed = ["--config", str(self.config), "--prompts", str(prompts), "--out", str(self.out)]
        environ = {**os.environ, "MAIN_KEY": "unused"}
        return p2l_router("learn", *fixed, "--spend", usd, *flags, environ=environ)

    def summary(self, *flags: str, **how: Any) -> dict[str, Any]:
        done = self.learn("--json", *flags, **how)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]

    def booked(self) -> Decimal:
        """What the ledger has of the key, in USD."""
        database = Database(f"sqlite:///{self.ledger}")
        (one,) = spend(database, "key", 0, 1e11)
        database.close()
        assert one.group == "learn"
        return one.cost_usd


@pytest.fixture
def provider() -> Iterator[KnownModels]:
    with KnownModels() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, provider: KnownModels) -> Place:
    return Place(tmp_path, provider)


@pytest.mark.slow
def test_a_dry_run_sends_nothing(place: Place, provider: KnownModels) -> None:
    plan = place.summary("--dry-run", "--models", THREE, checked=False)
    assert provider.chats == []
    assert not place.out.exists()
    lines = {(line["model"], line["kind"]): line for line in plan["lines"]}
    assert {kind for _, kind in lines} == {"answer", "verdict"}
    assert all(0 < line["expected_usd"] <= line["most_usd"] for line in lines.values())
    assert plan["expected_usd"] == pytest.approx(sum(one["expected_usd"] for one in plan["lines"]))
    verdicts = [line["n"] for (_, kind), line in lines.items() if kind == "verdict"]
    assert sum(verdicts) == 8 * 2 * 2  # two models against the third, in both orders
    assert "expected USD" in place.learn("--dry-run", "--models", THREE, checked=False).stdout


@pytest.mark.slow
def test_checked_answers_are_graded_as_they_are(place: Place) -> None:
    summary = place.summary("--models", THREE)
    grades = place.rows("grades.jsonl")
    models = {one.name: one for one in MODELS}
    assert len(grades) == 3 * 8
    for row in grades:
        right = quality(models[row["catalogue_name"]], row["prompt"][0]) > 0
        assert row["score"] == float(right)
        assert row["judge"] == "checker:expected"
    assert {one["model"] for one in summary["models"]} == set(THREE.split(","))
    assert summary["stopped"] is None
    assert Decimal(str(summary["spent_usd"])) == place.booked()
    told = sum(Decimal(str(row["cost_usd"])) for row in place.rows("answers.jsonl"))
    assert told == pytest.approx(place.booked())


@pytest.mark.slow
def test_the_files_are_read_by_the_other_commands(place: Place) -> None:
    place.summary("--models", THREE, checked=False)
    grades, verdicts = place.out / "grades.jsonl", place.out / "verdicts.jsonl"
    rows = graded_rows(read_columns(grades), grades)
    assert len(rows) == 3 * 8
    assert len(rows.models) == 3
    votes = load_votes([grades, verdicts])
    assert len(votes.outcome) == 8 * 3 + 8 * 2  # pairs of each prompt, and its verdicts
    prices = load_prices(place.out / "prices.csv")
    table = load_scores([grades], prices).complete()
    assert table.score.shape == (8, 3)


@pytest.mark.slow
def test_no_more_is_spent_than_is_allowed(place: Place, provider: KnownModels) -> None:
    summary = place.summary(*ALL, usd="0.2", n=40, checked=False)
    assert summary["stopped"] == "money"
    assert Decimal("0.1") < place.booked() <= Decimal("0.2")
    counts = Counter(
        row["catalogue_name"] for row in place.rows("answers.jsonl") if not row["no_response"]
    )
    assert len(counts) == len(MODELS) + 1
    assert max(counts.values()) - min(counts.values()) <= 4  # the prompts at the same time
    n_chats = len(provider.chats)
    again = place.summary(*ALL, usd="0.2", n=40, checked=False)
    assert again["models"] == summary["models"]
    assert len(provider.chats) == n_chats
    more = place.summary(*ALL, usd="0.3", n=40, checked=False)
    assert more["spent_usd"] > summary["spent_usd"]
    assert place.booked() <= Decimal("0.3")


@pytest.mark.slow
def test_models_that_the_money_is_not_enough_for_are_left_out(place: Place) -> None:
    assert place.summary("--dry-run", usd="50", n=40)["left_out"] == []
    poor = place.summary("--dry-run", usd="0.1", n=40)
    assert "claude-opus-5-5" in poor["left_out"]
    assert len(poor["lines"]) + len(poor["left_out"]) == len(MODELS) + 1
    named = place.summary("--dry-run", "--models", "claude-opus-5-5,gpt-6.1-sol", usd="0.1", n=40)
    assert named["left_out"] == []


@pytest.mark.slow
def test_a_finished_run_buys_nothing_again(place: Place, provider: KnownModels) -> None:
    first = place.summary("--models", THREE, checked=False)
    n_chats = len(provider.chats)
    assert place.summary("--models", THREE, checked=False) == first
    assert len(provider.chats) == n_chats == 8 * 3 + 8 * 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [("--models", "gpt-6-luna,grok-4.7"), ("--checker", "expected"), ("--judge", "grok-4.7")],
)
def test_a_folder_holds_one_run(place: Place, flags: tuple[str, ...]) -> None:
    own = () if "--models" in flags else ("--models", THREE)
    place.summary("--models", THREE, checked=False)
    done = place.learn(*own, *flags, checked="--checker" in flags)
    assert done.returncode == 2
    assert "give another folder" in done.stderr


@pytest.mark.slow
def test_a_run_has_one_instruction_for_its_judge(place: Place) -> None:
    place.summary("--models", THREE, checked=False)
    plan = json.loads((place.out / "plan.json").read_text())
    (place.out / "plan.json").write_text(json.dumps(plan | {"judge_version": "0"}))
    done = place.learn("--models", THREE, checked=False)
    assert done.returncode == 2
    assert "another version of the judge's instruction" in done.stderr


@pytest.mark.slow
def test_a_model_that_fails_is_left_out_of_the_rest(place: Place, provider: KnownModels) -> None:
    provider.faults["gpt-6-luna"] = Fault(status=400, n=10_000)
    summary = place.summary("--models", THREE, n=24)
    assert list(summary["failures"]) == ["gpt-6-luna"]
    n_asked = sum(one.body["model"] == "gpt-6-luna" for one in provider.chats)
    assert 5 <= n_asked < 24
    assert len(place.rows("grades.jsonl")) == 2 * 24


@pytest.mark.slow
def test_a_call_that_failed_is_made_when_the_run_goes_on(
    place: Place, provider: KnownModels
) -> None:
    provider.faults["gpt-6-luna"] = Fault(status=400, n=2)
    assert place.summary("--models", THREE)["failures"]["gpt-6-luna"]
    assert len(place.rows("grades.jsonl")) == 3 * 8 - 2
    assert place.summary("--models", THREE)["failures"] == {}
    assert len(place.rows("grades.jsonl")) == 3 * 8


def test_a_provider_that_is_busy_is_asked_again(place: Place, provider: KnownModels) -> None:
    provider.faults["gpt-6-luna"] = Fault(status=429, n=2)
    summary = place.summary("--models", THREE, n=4)
    assert summary["failures"] == {}
    assert len(place.rows("grades.jsonl")) == 3 * 4
    lines = [json.loads(line) for line in (place.out / "journal.jsonl").read_text().splitlines()]
    assert any(line["do"] == "free" for line in lines)


@pytest.mark.slow
def test_a_prompt_that_a_model_cannot_take_is_no_failure_of_the_model(place: Place) -> None:
    lines = [
        line.replace("context_window: 100000", "context_window: 5000")
        if line.startswith("  gpt-6-luna")
        else line
        for line in place.config.read_text().splitlines()
    ]
    place.config.write_text("\n".join(lines))
    rows = [{"prompt": f"[math {n}] " + "word " * (9000 if n < 8 else 9), "regex": "."}
            for n in range(12)]  # fmt: skip
    own = place.folder / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = place.summary("--prompts", str(own), "--models", THREE, "--at-once", "1")
    assert [sum(codes.values()) for codes in summary["failures"].values()] == [8]
    answered = Counter(row["catalogue_name"] for row in place.rows("grades.jsonl"))
    assert answered == {"gpt-6.1-sol": 12, "claude-haiku-5-5": 12, "gpt-6-luna": 4}


def own_prompts(place: Place, *rows: dict[str, Any]) -> list[str]:
    own = place.folder / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--prompts", str(own)]


@pytest.mark.slow
def test_answers_are_checked_by_a_program(place: Place) -> None:
    rows = [{"prompt": f"[math {n}] x", "command": "grep -q right"} for n in range(6)]
    assert place.learn(*own_prompts(place, *rows), "--dry-run", "--models", THREE).returncode == 0
    place.summary(*own_prompts(place, *rows), "--models", THREE, "--checker", "command")
    models = {one.name: one for one in MODELS}
    for row in place.rows("grades.jsonl"):
        assert row["score"] == float(quality(models[row["catalogue_name"]], row["prompt"][0]) > 0)
        assert row["judge"] == "checker:command"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"command": "no-such-program"}, "no program no-such-program"),
        ({"json_schema": {"type": "nonsense"}}, "not a JSON schema"),
    ],
)
def test_checks_that_cannot_be_run_are_told_before_money_is_spent(
    place: Place, provider: KnownModels, row: dict[str, Any], told: str
) -> None:
    kind = next(iter(row))
    done = place.learn(
        *own_prompts(place, {"prompt": "[math 1] x", **row}), "--checker", kind, "--models", THREE
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert provider.chats == []


@pytest.mark.slow
def test_a_program_that_vanishes_is_told(place: Place) -> None:
    program = place.folder / "check"
    program.write_text("#!/bin/sh\nrm -f $0 && exit 0\n")  # it removes itself
    program.chmod(0o755)
    rows = [{"prompt": f"[math {n}] x", "command": [str(program)]} for n in range(6)]
    done = place.learn(
        *own_prompts(place, *rows), "--checker", "command", "--models", THREE, "--at-once", "1"
    )
    assert done.returncode == 2
    assert "no program" in done.stderr or "cannot be started" in done.stderr


@pytest.mark.slow
def test_the_prompts_that_the_gateway_kept_are_asked(place: Place) -> None:
    text = place.config.read_text().replace("storage: {", "storage: {keep_prompts: true, ")
    place.config.write_text(text)
    with (
        LiveGateway(text, {"MAIN_KEY": "unused"}) as live,
        httpx.Client(base_url=live.url, trust_env=False) as http,
    ):
        for number in range(3):
            said = [{"role": "user", "content": f"[law {number}] x"}]
            http.post("/v1/chat/completions", json={"model": "p2l", "messages": said})
    place.summary("--prompts", "stored", "--models", THREE, "--judge", "glm-5.3")
    asked = {row["prompt"][0] for row in place.rows("answers.jsonl")}
    assert asked == {f"[law {number}] x" for number in range(3)}


@pytest.mark.slow
def test_a_window_of_the_gateway_holds_for_a_run(place: Place) -> None:
    windows = "routing: {window_budgets: [{amount_usd: 0.05, window_s: 3600}]}\n"
    place.config.write_text(place.config.read_text() + windows)
    assert place.summary("--models", THREE, n=40, checked=False)["stopped"] == "window"
    assert place.booked() <= Decimal("0.05")


@pytest.mark.slow
def test_a_model_whose_place_is_settled_is_not_asked_further(
    place: Place, provider: KnownModels
) -> None:
    pair = "claude-opus-5-5,gpt-6-luna"
    summary = place.summary("--models", pair, n=200)
    assert set(summary["settled"]) == set(pair.split(","))
    assert 2 * 25 <= len(provider.chats) < 2 * 150


def test_columns_of_a_model_are_models(place: Place, provider: KnownModels) -> None:
    text = place.config.read_text()
    place.config.write_text(text.replace("grok-4.7: {", "grok-4.7: {efforts: [low, high], ", 1))
    summary = place.summary("--models", "grok-4.7:low,grok-4.7:high,gpt-6-luna", n=4)
    assert {one["model"] for one in summary["models"]} == {
        "grok-4.7:low", "grok-4.7:high", "gpt-6-luna",
    }  # fmt: skip
    efforts = Counter(
        one.body.get("reasoning_effort") for one in provider.chats if "grok" in one.body["model"]
    )
    assert efforts == {"low": 4, "high": 4}


@pytest.mark.slow
def test_the_judge_is_of_another_family_and_its_biases_are_measured(
    place: Place, provider: KnownModels
) -> None:
    provider.leaning = Leaning(length=2.0, position=1.0)
    summary = place.summary("--judge", "grok-4.7", n=30, checked=False)
    judges = {one["model"]: one["judge"] for one in summary["models"]}
    assert judges["grok-4.7"] not in (None, "grok-4.7")
    assert {judge for name, judge in judges.items() if name != "grok-4.7"} <= {"grok-4.7", None}
    assert summary["reference"] != "grok-4.7"
    bias = next(one for one in summary["biases"] if one["judge"] == "grok-4.7")
    assert bias["length_ci95"][0] > 0
    assert bias["position_ci95"][0] > 0
    assert bias["first_wins"] > 0.5
    assert bias["flips"] > 0
    versions = {row["judge_version"] for row in place.rows("grades.jsonl")}
    assert versions == {"1"}


@pytest.mark.slow
def test_texts_are_in_the_users_files_alone(tmp_path: Path, provider: KnownModels) -> None:
    provider.delay_s = 0.0
    place = Place(tmp_path, provider)
    text = place.config.read_text().replace("storage: {", "storage: {keep_prompts: true, ")
    place.config.write_text(text)
    done = place.learn("--models", THREE, checked=False)
    assert done.returncode == 0
    for canary in ("as well as you can", "word word", "It is so."):
        assert any(canary in file.read_text() for file in place.out.glob("*.jsonl"))
        assert canary not in done.stdout + done.stderr
        for file in (*tmp_path.glob("ledger.db*"), *tmp_path.glob("ledger.db*/*")):
            if file.is_file():
                assert canary.encode() not in file.read_bytes(), file
    for file in place.out.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_second_answers_are_not_asked_for(place: Place, provider: KnownModels) -> None:
    more = "learning: {share: 1, usd_per_day: 5, judge: glm-5.3}\n"
    place.config.write_text(place.config.read_text() + more)
    place.summary("--models", THREE)
    assert len(provider.chats) == 3 * 8


@pytest.mark.slow
def test_spend_has_tags_and_one_session(place: Place) -> None:
    place.summary("--models", THREE, checked=False)
    database = Database(f"sqlite:///{place.ledger}")
    with database.begin() as connection:
        rows = connection.execute(attempts.select()).all()
    database.close()
    assert {row.key_name for row in rows} == {"learn"}
    assert len({row.session for row in rows}) == 1
    assert sum(usd(row.cost_pico) for row in rows) == place.booked()
    tags = Counter(row.tags for row in rows)
    assert len(tags) == 2


@pytest.mark.slow
def test_grades_are_handed_to_the_gateway_once(place: Place) -> None:
    text = config("http://127.0.0.1:1/v1", place.ledger, scorer=True)
    provider = place.config.read_text().splitlines()
    address = next(line for line in provider if "base_url" in line)
    place.config.write_text(
        "\n".join(address if "base_url" in line else line for line in text.splitlines())
    )
    assert place.summary("--models", THREE, "--apply", checked=False)["applied"] == 3 * 8
    assert place.summary("--models", THREE, "--apply", checked=False)["applied"] == 0
    database = Database(f"sqlite:///{place.ledger}")
    stored = latest_grades(database)
    database.close()
    assert len(stored) == 3 * 8
    assert {one.model for one in stored} == set(THREE.split(","))
    assert all(one.source.startswith("judge:") for one in stored)
    scores = {(row["catalogue_name"], row["score"]) for row in place.rows("grades.jsonl")}
    assert {(one.model, round(one.score, 6)) for one in stored} == scores
    with LiveGateway(place.config.read_text(), {"MAIN_KEY": "unused"}) as live:
        planner = live.state.gateway.planner
        until(lambda: "all" in planner.local.by_scope)
        assert planner.local.by_scope["all"].state.n_answers == 3 * 8
        frame = planner.frame()
        assert frame is not None
        lessons = lessons_of(live.state.store.database, frame)
    # Each grade has its prompt's own leaderboard.
    assert len({one.terms.difficulty for one in lessons}) == 8


@pytest.mark.slow
def test_the_judge_is_the_strongest_that_can_be_paid(place: Place) -> None:
    rich = place.summary("--dry-run", checked=False, usd="50")
    poor = place.summary("--dry-run", checked=False, usd="0.3")
    strength = {one.name: sum(one.strengths) for one in (*MODELS, JUDGE)}
    best = max(strength, key=lambda name: strength[name])
    assert best in rich["judges"].values()
    assert best not in poor["judges"].values()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--models", "nobody"), "nobody is not configured"),
        (("--judge", "nobody"), "nobody is not configured"),
        (("--models", "grok-4.7"), "at least two"),
        (("--checker", "regex"), "the column regex is missing"),
        (("--against", "gpt-9"), "--against gpt-9"),
    ],
)
def test_wrong_wishes_are_told(
    place: Place, provider: KnownModels, flags: tuple[str, ...], told: str
) -> None:
    done = place.learn(*flags, checked=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert provider.chats == []
