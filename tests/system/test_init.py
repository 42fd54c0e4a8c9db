"""`p2l-router init`: from the keys that are there to a configuration that serves."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import httpx
import pytest
from command_line import Done, p2l_router
from fake_provider import FakeProvider
from live_gateway import LiveGateway
from model_lists import listing

from server.build import settings_from
from server.catalogue.cards import build_catalogue
from server.commands.announcement import announcement
from server.config.facts_file import book_in_force
from server.config.file import parse_settings
from server.readiness import readiness
from server.setup.configuration import Choices, configuration
from server.setup.found import find
from server.setup.providers import candidates
from server.setup.suggesting import suggest
from server.setup.trying import Tried, try_all

KEY = "sk-canary-1234"
OFFERED = ("gpt-5.6-sol", "gpt-6-luna")


def init(folder: Path, *words: str, **environ: str) -> Done:
    own = {"PATH": str(folder / "bin"), "HOME": str(folder), "OPENAI_API_KEY": KEY} | environ
    return p2l_router("init", *words, environ=own, cwd=folder)


def check(folder: Path, **environ: str) -> Done:
    own = {"PATH": "", "HOME": str(folder), "OPENAI_API_KEY": KEY} | environ
    words = ("check", "--config", "p2l-router.yaml", "--json")
    return p2l_router(*words, environ=own, cwd=folder)


@pytest.mark.slow
def test_a_key_becomes_a_gateway_that_answers_within_a_budget(tmp_path: Path) -> None:
    with FakeProvider(models=OFFERED, api_key=KEY) as provider, listing({}) as refusing:
        words = ["--provider", f"openai={provider.base_url}"]
        words += ["--provider", f"anthropic={refusing.url}", "--yes", "--json"]
        done = init(tmp_path, *words, ANTHROPIC_API_KEY="sk-other-canary")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert {one["model"] for one in report["models"]} == set(OFFERED)
        assert all(one["usual_usd"] and one["rests_on"] for one in report["models"])
        assert [one["ok"] for one in report["providers"]] == [True, False]
        assert "status 404" in report["providers"][1]["outcome"]
        text = (tmp_path / "p2l-router.yaml").read_text()
        assert f"usd_per_win: {report['usd_per_win']}" in text
        assert f"amount_usd: {report['daily_usd']}" in text
        checked = check(tmp_path)
        assert checked.returncode == 0, checked.stdout
        assert json.loads(checked.stdout)["notes"] == []
        for said in (done.stdout, done.stderr, text, checked.stdout):
            assert "canary" not in said
        with (
            LiveGateway(text, {"OPENAI_API_KEY": KEY}) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False) as http,
        ):
            body = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
            headers = {"x-cost-budget": "0.05"}
            answer = http.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            assert answer.json()["model"] in OFFERED
            assert answer.headers["x-p2l-budget-usd"] == "0.05"
            best = http.post("/v1/chat/completions", json=body | {"model": "p2l:best"})
            assert best.status_code == 200, best.text
            assert {request.body["model"] for request in provider.chats} <= set(OFFERED)


@pytest.mark.slow
def test_the_sandbox_and_the_table_of_facts_do_without_a_network(tmp_path: Path) -> None:
    for words in (["--provider", "sandbox"], ["--offline"]):
        done = init(tmp_path, *words, "--yes", "--force", "--json")
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["models"]) >= 8
        checked = check(tmp_path)
        assert checked.returncode == 0, checked.stdout
        assert json.loads(checked.stdout)["warnings"] == []


def test_a_key_that_is_refused_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with FakeProvider(models=OFFERED, api_key="another") as provider:
        done = init(tmp_path, "--provider", f"openai={provider.base_url}", "--yes")
    assert done.returncode == 1
    assert "the key in OPENAI_API_KEY is refused (status 401)" in done.stderr
    assert KEY not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --yes"),
        (["--yes", "--provider", "opnai"], "'opnai' is not a provider"),
        (["--yes", "--provider", "mine=10.0.0.7"], "must begin with http"),
        (["--yes", "--usd-per-win", "0,02"], "write it with a point"),
        (["--yes", "--daily-usd", "-1"], "--daily-usd"),
        (["--yes", "--out", "nowhere/p2l.yaml"], "there is no such folder"),
        (["--yes", "--offline", "--provider", "own=http://127.0.0.1:9/v1"], "leave --offline out"),
    ],
)
def test_mistakes_say_what_to_write(tmp_path: Path, words: list[str], said: str) -> None:
    done = init(tmp_path, *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_key_it_names_the_variables(tmp_path: Path) -> None:
    done = init(tmp_path, "--yes", OPENAI_API_KEY="")
    assert done.returncode == 2
    for word in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "--provider sandbox"):
        assert word in done.stderr


@pytest.mark.slow
def test_a_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    file = tmp_path / "p2l-router.yaml"
    file.write_text("mine\n")
    done = init(tmp_path, "--provider", "sandbox", "--yes")
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert file.read_text() == "mine\n"
    assert init(tmp_path, "--provider", "sandbox", "--yes", "--force").returncode == 0
    assert "routing:" in file.read_text()


def test_a_link_that_leads_nowhere_is_not_written_through_unasked(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "p2l-router.yaml").symlink_to(elsewhere)
    done = init(tmp_path, "--provider", "sandbox", "--yes")
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert not elsewhere.exists()


def test_the_name_of_a_model_adds_nothing_to_the_configuration(tmp_path: Path) -> None:
    """A server that lists such a name would otherwise be given another provider's key."""
    evil = "http://evil.example/v1, api_key_env: OPENAI_API_KEY"
    names = [f"llama{end}  openai: {{kind: openai, base_url: {evil}}}{end}  #"
             for end in ("\n", "\r", "\x85", "\u2028")]  # fmt: skip
    with FakeProvider(models=("llama-3.3-70b-instruct", *names)) as provider:
        words = ("--provider", f"mine={provider.base_url}", "--yes", "--json")
        done = init(tmp_path, *words, MINE_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert [one["model"] for one in json.loads(done.stdout)["models"]] == ["llama-3.3-70b-instruct"]
    assert list(settings_from(str(tmp_path / "p2l-router.yaml"), {}).providers) == ["mine"]


def test_no_line_of_a_configuration_ends_within_a_name() -> None:
    """Whatever a table of facts or a provider calls a model, or a shell the file."""
    name = "llama\n  openai: {kind: sandbox}\n  #"
    asked = candidates(["mine=http://127.0.0.1:9/v1"], {})
    tried = [Tried(asked[0], offered=[name, "llama-3.3-70b-instruct"])]
    found = find(tried, book_in_force(None), date(2026, 11, 30))
    suggestion = suggest(found.models)
    assert suggestion is not None
    choices = Choices(suggestion.best, None, None, None)
    day = date(2026, 11, 30)
    text = configuration("a\nproviders: {}", tried, found, suggestion, choices, day)
    settings = parse_settings(text)
    assert list(settings.providers) == ["mine"]
    assert name in settings.models


def test_an_address_with_a_key_in_it_is_not_repeated(tmp_path: Path) -> None:
    done = init(tmp_path, "--provider", f"mine=http://127.0.0.1:9/v1?key={KEY}", "--yes")
    assert done.returncode == 2
    assert "--provider mine: base_url must end before the ?" in done.stderr
    assert KEY not in done.stderr


def test_a_provider_that_says_nothing_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"local=http://127.0.0.1:{silent.getsockname()[1]}/v1"
        asked = candidates([address], {})
        (tried,) = asyncio.run(try_all(asked, {}, date(2026, 11, 30), timeout_s=0.2))
    assert tried.problem == "did not answer within 0.2 s"


@pytest.mark.slow
def test_the_clients_that_are_installed_get_a_line(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("claude", "codex"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    done = init(tmp_path, "--provider", "sandbox", "--yes")
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8000" in done.stdout
    assert "codex -c" in done.stdout
    assert "opencode" not in done.stdout
    assert "p2l-router serve --config p2l-router.yaml" in done.stdout


@pytest.mark.slow
def test_at_a_terminal_it_asks(tmp_path: Path) -> None:
    (tmp_path / "p2l-router.yaml").write_text("mine\n")
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "server", "init", "--offline"]
    environ = {"PATH": "", "HOME": str(tmp_path), "OPENAI_API_KEY": KEY, "XAI_API_KEY": KEY}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdin=slave, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(slave)
        os.write(master, b"yes\nxai\n0.5\n7\nnone\n")
        said, asked = process.communicate(timeout=60)
        assert process.returncode == 0, asked
    os.close(master)
    assert "Write over it [no]" in asked
    assert "Use which [openai,xai]" in asked
    text = (tmp_path / "p2l-router.yaml").read_text()
    assert re.search(r"^  xai: \{", text, re.MULTILINE)
    assert "openai:" not in text
    assert "\n  usd_per_win: 0.5\n" in text
    assert "\n    - {amount_usd: 7," in text
    assert "\n#  budget_usd" in text
    assert "serve --config" in said


def test_serve_and_check_say_when_nothing_is_saved(tmp_path: Path) -> None:
    settings = settings_from(None, {"OPENAI_API_KEY": KEY})
    catalogue = build_catalogue(settings)
    said = announcement(settings, catalogue, ["gpt-5.6-sol"], "127.0.0.1:80")
    assert "note: neither routing.usd_per_win nor routing.budget_usd is set" in said
    environ = {"PATH": "", "HOME": str(tmp_path), "OPENAI_API_KEY": KEY}
    done = p2l_router("check", environ=environ, cwd=tmp_path)
    assert "nothing is saved" in done.stdout
    weighed = settings.routing.model_copy(update={"usd_per_win": 1})
    weighed_settings = settings.model_copy(update={"routing": weighed})
    assert readiness(weighed_settings, catalogue, ["gpt-5.6-sol"]).notes == ()
    alone = [card for card in catalogue if card.name == "gpt-6-luna"]
    assert readiness(settings, alone, ["gpt-5.6-sol"]).notes == ()
