"""Names that callers send: aliases, and patterns of them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fake_provider import FakeProvider
from hypothesis import given
from hypothesis import strategies as st
from live_gateway import LiveGateway

from server.config.aliases import Aliases
from server.config.defaults import default_settings
from server.config.file import ConfigError, parse_settings

KNOWN = {"claude-here", "gpt-here"}
ALIASES = Aliases(
    {
        "claude-*": "p2l",
        "claude-opus-*": "p2l:dear",
        "*-opus-*": "p2l:other",
        "claude-exact": "gpt-here",
        "gpt-*-mini": "claude-here",
        "a*b*c": "p2l",
        "ab*bc": "p2l:other",
    }
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("claude-sonnet-9", "p2l"),
        ("claude-", "p2l"),
        ("claude", "claude"),
        ("claude-opus-9", "p2l:dear"),
        ("an-opus-9", "p2l:other"),
        ("claude-here", "claude-here"),
        ("claude-exact", "gpt-here"),
        ("gpt-9-mini", "claude-here"),
        ("gpt-mini", "gpt-mini"),
        ("gpt-9-mini-x", "gpt-9-mini-x"),
        ("Claude-sonnet", "Claude-sonnet"),
        ("p2l", "p2l"),
        ("p2l:claude-", "p2l:claude-"),
        ("abc", "p2l"),
        ("abbc", "p2l:other"),
        ("acb", "acb"),
        ("", ""),
    ],
)
def test_what_a_name_stands_for(name: str, meant: str) -> None:
    assert ALIASES.meant(name, KNOWN) == meant


def test_the_first_of_equal_patterns_counts() -> None:
    assert Aliases({"a*": "x", "*b": "y"}).meant("ab", ()) == "x"
    assert Aliases({"*b": "y", "a*": "x"}).meant("ab", ()) == "y"
    assert Aliases({"*": "any", "a*": "x"}).meant("b", ()) == "any"


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=4), st.text("ab", max_size=12))
def test_a_star_is_any_characters(pieces: list[str], name: str) -> None:
    pattern = "*".join(pieces)
    fits = Aliases({pattern: "x"}).meant(name, ()) == "x"
    assert fits == _fits_by_definition(name, pattern)


def _fits_by_definition(name: str, pattern: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_fits_by_definition(name[at:], pattern[1:]) for at in range(len(name) + 1))
    return name[:1] == pattern[0] and _fits_by_definition(name[1:], pattern[1:])


@pytest.mark.parametrize(
    ("alias", "target", "why"),
    [
        ("claude-**", "p2l", "aliases.claude-**: has two stars"),
        ("p2l:*", "p2l", "aliases.p2l:*: names that begin with p2l:"),
        ("claude-*", "p2l:nobody", "aliases.claude-*: there is no model or profile"),
        ("claude-*", "claude-*", "aliases.claude-*: there is no model or profile"),
    ],
)
def test_a_bad_pattern_is_named(alias: str, target: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_settings(f'aliases: {{"{alias}": "{target}"}}')
    assert why in str(raised.value)


def test_without_a_configuration_names_that_nobody_has_are_routed() -> None:
    aliases = Aliases(default_settings({"OPENAI_API_KEY": "x"}).aliases)
    known = {"gpt-6-luna"}
    assert aliases.meant("claude-opus-4-7", known) == "p2l"
    assert aliases.meant("gpt-4", known) == "p2l"
    assert aliases.meant("gpt-6-luna", known) == "gpt-6-luna"
    assert aliases.meant("text-embedding-3-small", known) == "text-embedding-3-small"


CONFIG = """
providers:
  main: {{kind: openai, base_url: "{url}"}}
models:
  one: {{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
  gpt-two: {{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
aliases: {{"claude-*": p2l, "gpt-*": p2l, "my-*": one}}
scorer: {{fixed: {{one: 0, gpt-two: 1}}}}
auth:
  keys:
    - {{name: all, key_env: ALL}}
    - {{name: few, key_env: FEW, models: [one]}}
    - {{name: other, key_env: OTHER, models: [gpt-two]}}
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    keys = {name.upper(): f"{name}-key" for name in ("all", "few", "other")}
    with (
        FakeProvider() as provider,
        LiveGateway(CONFIG.format(url=provider.base_url), keys) as gateway,
    ):
        yield gateway.url


BODIES = {
    "chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "responses": {"input": "x"},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    "messages/count_tokens": {"messages": [{"role": "user", "content": "x"}]},
    "responses/input_tokens": {"input": "x"},
}
COUNTING = ("messages/count_tokens", "responses/input_tokens")


def ask(url: str, surface: str, model: str, key: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    body = BODIES[surface] | {"model": model}
    return httpx.post(f"{url}/v1/{surface}", json=body, headers=headers, trust_env=False)


@pytest.mark.parametrize("surface", BODIES)
@pytest.mark.parametrize(
    ("key", "name", "model"),
    [
        ("all-key", "claude-opus-9", "gpt-two"),
        ("all-key", "gpt-9", "gpt-two"),
        ("all-key", "gpt-two", "gpt-two"),
        ("all-key", "my-own", "one"),
        # what the name stands for is what the key's rules are about
        ("few-key", "claude-opus-9", "one"),
        ("few-key", "my-own", "one"),
        ("few-key", "gpt-two", None),
        ("other-key", "my-own", None),
        ("other-key", "claude-opus-9", "gpt-two"),
        ("all-key", "opus", None),
    ],
)
def test_on_every_surface(url: str, surface: str, key: str, name: str, model: str | None) -> None:
    answer = ask(url, surface, name, key)
    assert answer.status_code == (404 if model is None else 200), answer.text
    if model is not None and surface not in COUNTING:
        assert answer.json()["model"] == model


def test_a_name_that_a_pattern_catches_is_a_model(url: str) -> None:
    def found(path: str, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(f"{url}/v1/models{path}", headers=headers, trust_env=False)

    assert found("/claude-opus-9", "few-key").json()["id"] == "claude-opus-9"
    assert found("/gpt-two", "all-key").json()["owned_by"] == "main"
    assert found("/gpt-two", "few-key").status_code == 404
    assert found("/my-own", "other-key").status_code == 404
    listed = [model["id"] for model in found("", "all-key").json()["data"]]
    assert listed == ["p2l", "one", "gpt-two"]
