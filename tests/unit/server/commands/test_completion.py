"""The completion scripts know the verbs, the flags and the choices that the parser knows."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import p2l_router

from server.commands.verbs import VERBS


def script(shell: str) -> str:
    done = p2l_router("completion", shell)
    assert done.returncode == 0, done.stderr
    return done.stdout


def completed(*words: str) -> set[str]:
    """What bash offers for the last of the words."""
    given = " ".join(f"'{word}'" for word in ("p2l-router", *words))
    asked = f'COMP_WORDS=({given}); COMP_CWORD={len(words)}; _p2l_router; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-euc", f"{script('bash')}\n{asked}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.slow
def test_bash_completes_verbs_flags_actions_and_choices() -> None:
    assert completed("") == {*VERBS, "--help", "--version"}
    assert completed("sp") == {"spend"}
    assert {"--config", "--by", "--days", "--json"} <= completed("spend", "--")
    assert completed("spend", "--by", "s") == {"session"}
    assert {"create", "list", "change", "revoke"} <= completed("keys", "")
    assert {"--budget-usd", "--admin"} <= completed("keys", "create", "alice", "--")
    assert "--admin" not in completed("keys", "list", "--")
    assert completed("completion", "z") == {"zsh"}
    assert completed("serve", "--config", "") == set(), "files are completed by bash itself"


def in_fish(line: str, folder: Path) -> set[str]:
    """What fish offers for the end of a line."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed: apt-get install fish")
    (folder / "p2l-router.fish").write_text(script("fish"))
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source p2l-router.fish; complete -C '{line}'"],
        cwd=folder,
        env=os.environ | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return {said.split("\t")[0] for said in done.stdout.splitlines()}


@pytest.mark.slow
def test_fish_completes_verbs_flags_actions_and_choices(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert in_fish("p2l-router le", tmp_path) == {"leaderboard", "learn"}
    assert in_fish("p2l-router --", tmp_path) == {"--help", "--version"}
    assert in_fish("p2l-router serve --po", tmp_path) == {"--port"}
    assert in_fish("p2l-router spend --by s", tmp_path) == {"session"}
    assert in_fish("p2l-router keys ", tmp_path) == {"create", "list", "change", "revoke"}
    assert in_fish("p2l-router keys create alice --adm", tmp_path) == {"--admin"}
    assert in_fish("p2l-router keys list --adm", tmp_path) == set()
    assert in_fish("p2l-router completion z", tmp_path) == {"zsh"}
    assert "mine.yaml" in in_fish("p2l-router keys --config ", tmp_path)
    assert "create" not in in_fish("p2l-router keys --config ", tmp_path), "a file comes here"


class Zsh:
    """A zsh at a terminal, in which `p2l-router` prints its arguments."""

    def __init__(self, folder: Path) -> None:
        (folder / "p2l-router.zsh").write_text(script("zsh"))
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            place = {"HOME": str(folder), "ZDOTDIR": str(folder), "TERM": "dumb"}
            os.chdir(folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], os.environ | place)
        self.typed(
            'source p2l-router.zsh; p2l-router() { print -r -- "given: $* :end" }; '
            "print rea''dy\n",
            "ready",
        )

    def typed(self, keys: str, until: str) -> str:
        """What zsh shows after these keys, up to a text that comes in the end."""
        os.write(self._terminal, keys.encode())
        shown = ""
        while until not in shown:
            assert select.select([self._terminal], [], [], 30)[0], shown
            shown += os.read(self._terminal, 4096).decode()
        return shown

    def completed(self, line: str) -> str:
        """The arguments that a line is sent with after a tab."""
        shown = self.typed(f"{line}\t\n", " :end")
        return shown.split("given: ")[-1].split(" :end")[0]

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


@pytest.fixture
def zsh(tmp_path: Path) -> Iterator[Zsh]:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed: apt-get install zsh")
    shell = Zsh(tmp_path)
    yield shell
    shell.close()


@pytest.mark.slow
def test_zsh_completes_verbs_flags_actions_and_choices(zsh: Zsh) -> None:
    assert zsh.completed("p2l-router leade") == "leaderboard"
    assert zsh.completed("p2l-router serve --po") == "serve --port"
    assert zsh.completed("p2l-router spend --by s") == "spend --by session"
    assert zsh.completed("p2l-router keys cr") == "keys create"
    assert zsh.completed("p2l-router keys create alice --adm") == "keys create alice --admin"
    assert zsh.completed("p2l-router keys list --adm") == "keys list --adm"
    offered = zsh.typed("p2l-router le\t\t", "learn")
    assert "leaderboard" in offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_its_script(shell: str) -> None:
    text = script(shell)
    for verb in VERBS:
        assert verb in text
    assert "--session-budget-usd" in text or "-l session-budget-usd" in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was made, and not read")
    subprocess.run([shell, "-n"], input=text, text=True, check=True)
