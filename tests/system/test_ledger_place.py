"""Where the ledger is where the configuration does not say: for serve and for every command."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import p2l_router
from fake_provider import FakeProvider
from live_gateway import config_for
from serve_process import COMMAND, ServeProcess

from server.auth.authenticator import Caller
from server.build import database_of
from server.cli import main
from server.config.file import ConfigError
from server.config.ledger_place import ledger_place
from server.config.settings import StorageSettings
from server.storage.database import Database
from server.storage.keys import create_key
from server.storage.migrate import migrate

UNSAID = StorageSettings()
FOUND = "found in the working directory"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with a home beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAIN_KEY", "sk-provider-canary")
    monkeypatch.delenv("XDG_DATA_HOME")
    return folder


@pytest.fixture
def config(here: Path, provider: FakeProvider) -> Path:
    path = here / "config.yaml"
    path.write_text(config_for(provider.base_url))
    return path


def ledger_with_a_key(path: Path, name: str) -> None:
    database = Database(f"sqlite:///{path}")
    migrate(database)
    create_key(database, Caller(name))
    database.close()


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_DATA_HOME": "/data", "HOME": "/home/me"}, "/data"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/share"),
        ({"XDG_DATA_HOME": "", "HOME": "/home/me"}, "/home/me/.local/share"),
        ({"HOME": "/home/me"}, "/home/me/.local/share"),
        ({"HOME": ""}, f"{pwd.getpwuid(os.getuid()).pw_dir}/.local/share"),
        ({}, f"{pwd.getpwuid(os.getuid()).pw_dir}/.local/share"),
    ],
)
def test_it_is_in_the_data_folder_of_the_user(
    here: Path, environ: dict[str, str], folder: str
) -> None:
    place = ledger_place(UNSAID, environ)
    assert place is not None
    assert (str(place.path), place.is_here) == (f"{folder}/p2l-router/p2l-router.db", False)


def test_one_in_the_working_directory_is_used_and_a_line_says_so(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger_with_a_key(here / "p2l-router.db", "old")
    database = database_of(UNSAID)
    database.close()
    assert database.path == here / "p2l-router.db"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert FOUND in said
    assert f"storage.url: sqlite:///{here}/p2l-router.db" in said
    assert (
        f"move it, with all files whose names begin with its name, to {tmp_path}/home/.local/share"
        in said
    )
    assert "(and not" not in said
    assert not (tmp_path / "home").exists()
    # where there are two, nobody is left to guess
    usual = tmp_path / "home" / ".local" / "share" / "p2l-router" / "p2l-router.db"
    usual.parent.mkdir(parents=True)
    usual.touch()
    database_of(UNSAID).close()
    assert f"(and not {usual})" in capsys.readouterr().err


def test_a_place_that_is_said_is_the_place(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger_with_a_key(here / "p2l-router.db", "old")
    for storage, environ in (
        (StorageSettings(url=f"sqlite:///{tmp_path}/said.db"), {}),
        (StorageSettings(url_env="URL"), {"URL": f"sqlite:///{tmp_path}/said.db"}),
    ):
        database = database_of(storage, environ)
        database.close()
        assert database.path == tmp_path / "said.db"
    assert capsys.readouterr().err == ""


def test_the_folder_of_a_container_is_its_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image sets XDG_DATA_HOME so: there is one place, and nothing to say."""
    folder = tmp_path / "p2l-router"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    ledger_with_a_key(folder / "p2l-router.db", "old")
    database = database_of(UNSAID)
    database.close()
    assert database.path == folder / "p2l-router.db"
    assert capsys.readouterr().err == ""


def test_any_name_of_a_folder_will_do(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = here / "a b?c=d#e%20f"
    monkeypatch.setenv("XDG_DATA_HOME", str(odd))
    database = database_of(UNSAID)
    migrate(database)
    database.close()
    assert (odd / "p2l-router" / "p2l-router.db").is_file()
    assert (odd / "p2l-router").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A home that cannot be written, by root neither."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted and os.geteuid() == 0:
        pytest.skip("no file system can be mounted here")
    folder.chmod(0o500) if not mounted else None
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_home_that_cannot_be_written_is_said_with_the_way_out(
    config: Path, read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + "storage: {receipts_days: 1}\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(read_only), "MAIN_KEY": "k"}
    for words in (["spend"], ["keys", "list"], ["serve", "--port", "0"]):
        done = p2l_router(*words, "--config", str(config), environ=environ)
        assert done.returncode == 2
        assert "storage.url: the folder" in done.stderr
        assert "cannot be made (" in done.stderr
        assert "XDG_DATA_HOME" in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(read_only))
        assert main(["check", "--connect", "--json", "--config", str(config)]) == 1
        found = json.loads(capsys.readouterr().out)["connections"]["storage"]
        assert f"cannot be made: {read_only} cannot be written" in found


def test_a_user_without_a_home_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ConfigError, match=r"no home folder for the ledger: set storage\.url"):
        ledger_place(UNSAID, {})


def test_looking_makes_no_folder(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--connect", "--json", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out)["connections"]["storage"] == "ok"
    assert main(["watch", "--config", str(config)]) == 2
    assert "serve has stored nothing yet" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


COMMANDS = [
    ["spend"],
    ["keys", "list"],
    ["migrate"],
    ["feedback", "export", "--out", "votes.jsonl"],
    ["reconcile", "--usage", "usage.csv", "--provider", "main"],
    ["check", "--connect"],
    ["watch"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_every_command_finds_the_ledger_of_the_working_directory(
    here: Path, config: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger_with_a_key(here / "p2l-router.db", "old")
    (here / "usage.csv").write_text("id,day,model,cost_usd\n")
    assert main([*command, "--config", str(config)]) in (0, 1)
    said = capsys.readouterr()
    assert said.err.count(FOUND) == 1
    assert FOUND not in said.out
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--workers", "2"],
        ["--log-format", "json"],
    ],
)
def test_serve_says_once_where_the_ledger_is_and_uses_it(
    tmp_path: Path, provider: FakeProvider, flags: list[str]
) -> None:
    config = config_for(provider.base_url)
    environ = {"MAIN_KEY": "sk-provider-canary", "XDG_DATA_HOME": str(tmp_path / "data")}
    usual = tmp_path / "data" / "p2l-router" / "p2l-router.db"
    with ServeProcess(tmp_path, config, *flags, environ=environ) as serve:
        assert serve.said.count(f"  ledger: {usual}") == 1
        assert FOUND not in serve.said
    assert usual.is_file()
    assert not (tmp_path / "p2l-router.db").exists()
    ledger_with_a_key(tmp_path / "p2l-router.db", "old")
    usual.unlink()
    with ServeProcess(tmp_path, config, *flags, environ=environ) as serve:
        assert serve.said.count(FOUND) == 1
    assert not usual.exists()
    with closing(sqlite3.connect(tmp_path / "p2l-router.db")) as rows:
        assert rows.execute("SELECT count(*) FROM instances").fetchone()[0] >= 1
    rows.close()


@pytest.mark.slow
def test_the_command_line_itself_puts_it_into_the_data_folder(config: Path, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "P2L_CONFIG": str(config),
    }
    command = [str(COMMAND), "keys", "create", "me", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    assert json.loads(done.stdout)["name"] == "me"
    assert (tmp_path / "home/.local/share/p2l-router/p2l-router.db").is_file()
