"""What `keys create` tells besides the key: where it holds, and that a gateway closes by the first
one."""

from __future__ import annotations

from pathlib import Path

from command_line import Done, p2l_router

from server.commands.announcement import announcement
from server.config.file import parse_settings

CONFIG = "providers: {main: {kind: sandbox}}\nmodels: {gpt-6-luna: {provider: main}}\n"


def keys(folder: Path, *words: str) -> Done:
    environ = {"PATH": "", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    return p2l_router("keys", *words, environ=environ, cwd=folder)


def test_the_first_key_closes_the_gateway_and_says_so(tmp_path: Path) -> None:
    first = keys(tmp_path, "create", "me").stderr
    assert f"whose ledger is {tmp_path}/p2l-router/p2l-router.db" in first
    assert "from now on these gateways answer only callers with a key" in first
    assert "keys create NAME --admin" in first
    second = keys(tmp_path, "create", "you").stderr
    assert "from now on" not in second


def test_an_admin_is_not_told_to_make_one(tmp_path: Path) -> None:
    said = keys(tmp_path, "create", "boss", "--admin").stderr
    assert "from now on" in said
    assert "--admin" not in said


def test_a_list_says_where_there_is_no_limit(tmp_path: Path) -> None:
    keys(tmp_path, "create", "me", "--budget-usd", "5", "--window-s", "86400")
    (row,) = keys(tmp_path, "list").stdout.splitlines()[1:]
    assert "5 per 86400 s" in row
    assert row.count("no limit") == 4


def test_a_mistake_names_the_flag(tmp_path: Path) -> None:
    done = keys(tmp_path, "create", "me", "--window-s", "60")
    assert done.returncode == 2
    assert "--window-s needs --budget-usd" in done.stderr


def test_the_line_to_try_has_a_key_where_one_is_needed() -> None:
    settings = parse_settings(CONFIG)
    for needs_key in (False, True):
        said = announcement(settings, [], ["gpt-6-luna"], "127.0.0.1:80", needs_key=needs_key)
        assert ("Authorization: Bearer YOUR_KEY" in said) is needs_key
