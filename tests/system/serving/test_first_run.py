"""The first minutes with it: what `serve` says, whether its line works, what mistakes lead to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from command_line import p2l_router
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for
from serve_process import ServeProcess

from server.catalogue.cards import build_catalogue
from server.commands.announcement import announcement
from server.config.defaults import missing_variables
from server.config.file import parse_settings


def the_line(said: str) -> str:
    return said.split("  try: ")[1].splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("auth", ["", "auth: {keys: [{name: me, key_env: MY_KEY}]}"])
def test_the_curl_line_works(tmp_path: Path, provider: FakeProvider, auth: str) -> None:
    environ = {"MAIN_KEY": "sk-provider-canary", "MY_KEY": "my-key"}
    with ServeProcess(tmp_path, config_for(provider.base_url, auth), environ=environ) as serve:
        done = subprocess.run(
            ["/bin/sh", "-c", the_line(serve.said)],
            env={"PATH": os.environ["PATH"], **environ},
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["choices"][0]["message"]["content"]
        assert f"dashboard: {serve.url}/" in serve.said


def test_it_says_what_is_served_and_why_the_rest_is_not(provider: FakeProvider) -> None:
    settings = parse_settings(config_for(provider.base_url))
    catalogue = build_catalogue(settings)
    said = announcement(settings, catalogue, ["dear"], "0.0.0.0:80", ["OPENAI_API_KEY"])
    assert "serves http://127.0.0.1:80/v1 (and on every other address of this machine)" in said
    assert "models to choose from: dear, middle, cheap\n" in said
    assert "by name" not in said
    assert "for more models, set one of: OPENAI_API_KEY" in said


def test_it_says_what_is_never_chosen_and_what_ends(provider: FakeProvider) -> None:
    ended = "facts: {retirement: {day: 2020-01-01, successor: better}}"
    text = config_for(provider.base_url).replace("cheap: {", f"cheap: {{{ended}, ")
    settings = parse_settings(text)
    catalogue = build_catalogue(settings)
    said = announcement(settings, catalogue, ["dear"], "127.0.0.1:80")
    assert "models to choose from: dear, middle\n" in said
    assert "retired, and never used: cheap\n" in said
    assert "warning: models.cheap: it was retired on 2020-01-01" in said
    assert "NOT READY" not in said
    said = announcement(settings, catalogue, [], "127.0.0.1:80")
    assert "used only when asked for by name, never chosen: dear, middle\n" in said
    assert "NOT READY: no model can be routed: the leaderboard is empty" in said


@pytest.mark.slow
def test_a_configuration_in_the_folder_that_is_not_used_is_named(tmp_path: Path) -> None:
    for is_there in (False, True):
        if is_there:
            (tmp_path / "p2l-router.yaml").write_text("models: {}")
        with ServeProcess(tmp_path, None) as serve:
            assert ("p2l-router.yaml in this folder is not used" in serve.said) is is_there


def test_more_keys_are_asked_for_only_where_there_is_one() -> None:
    assert missing_variables({}) == []
    missing = missing_variables({"OPENAI_API_KEY": "x"})
    assert "ANTHROPIC_API_KEY" in missing
    assert "OPENAI_API_KEY" not in missing


@pytest.mark.slow
def test_mistakes_of_the_first_minutes_say_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for flags, said in (
            (["--port", str(taken.getsockname()[1])], "take another port"),
            (["--config", "nowhere.yaml"], "nowhere.yaml cannot be read"),
            (["--host", "0.0.0.0"], "add a key under auth.keys"),
        ):
            environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            done = p2l_router("serve", *flags, environ=environ, cwd=tmp_path)
            assert done.returncode == 2
            assert said in done.stderr
            assert "Traceback" not in done.stderr


def test_requests_of_the_first_minutes_say_what_to_do(provider: FakeProvider) -> None:
    environ = {"MAIN_KEY": "sk-provider-canary", "MY_KEY": "my-key"}
    auth = "auth: {keys: [{name: me, key_env: MY_KEY}]}"
    with (
        LiveGateway(config_for(provider.base_url, auth), environ) as live,
        httpx.Client(base_url=live.url, trust_env=False) as http,
    ):
        body = {"model": "gpt-99", "messages": [{"role": "user", "content": "hi"}]}
        path = "/v1/chat/completions"
        assert "Authorization: Bearer KEY" in http.post(path, json=body).text
        headers = {"authorization": "Bearer my-key"}
        unknown = http.post(path, json=body, headers=headers)
        assert unknown.status_code == 404
        assert "GET /v1/models" in unknown.text
        poor = headers | {"x-cost-budget": "0.0000001"}
        assert (
            "Raise the budget" in http.post(path, json=body | {"model": "p2l"}, headers=poor).text
        )
        assert http.post("/chat/completions", json=body, headers=headers).status_code == 404
