"""The completion scripts know the verbs, the flags and the choices that the parser knows."""

from __future__ import annotations

import shutil
import subprocess

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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_its_script(shell: str) -> None:
    text = script(shell)
    for verb in VERBS:
        assert verb in text
    assert "--session-budget-usd" in text or "-l session-budget-usd" in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was made, and not read")
    subprocess.run([shell, "-n"], input=text, text=True, check=True)
