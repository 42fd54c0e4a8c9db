"""What plays Docker may crash by itself, and its failures are told so that one can see why."""

from __future__ import annotations

from pathlib import Path

import pytest
from compose_stack import Stack

CRASH = """\
compose: building
postgres | SIGSEGV: segmentation violation
postgres | goroutine 1 [running]:
postgres | github.com/containers/buildah/run_linux.go:12
"""
SECRETS = ("postgres_password", "router_key", "admin_key", "model_key")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in SECRETS:
        (secrets / name).write_text("x")
    (tmp_path / "crash").write_text(CRASH + "postgres | at 0x1\n" * 1_000)
    return Stack(tmp_path, tmp_path / "stack", secrets)


def compose(folder: Path, script: str) -> None:
    """In the place of the tool; $1 is the file, $2 what it should do."""
    made = folder / "compose"
    made.write_text(f'#!/bin/sh\ncd {folder}\necho "$2" >> calls\n{script}\n')
    made.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


def test_a_tool_that_crashes_is_tried_once_more(stack: Stack, tmp_path: Path) -> None:
    compose(
        tmp_path,
        '[ "$2" = up ] && [ ! -e seen ] && touch seen && cat crash && exit 2\necho "all is up"',
    )
    with pytest.warns(UserWarning, match="the tool crashed") as said:
        assert stack.up() == "all is up\n"
    assert "SIGSEGV" in str(said[0].message)
    assert calls(tmp_path) == ["up", "down", "up"]


def test_a_tool_that_crashes_twice_fails_and_shows_where_it_began(
    stack: Stack, tmp_path: Path
) -> None:
    compose(tmp_path, '[ "$2" = up ] && cat crash && echo "the end" && exit 2\nexit 0')
    with (
        pytest.warns(UserWarning, match="tried again"),
        pytest.raises(pytest.fail.Exception) as failed,
    ):
        stack.up()
    assert "SIGSEGV" in str(failed.value)
    assert "the end" in str(failed.value)
    assert calls(tmp_path) == ["up", "down", "up"]


@pytest.mark.parametrize(
    "said",
    ["gateway | Traceback (most recent call last):", "prometheus | goroutine 7 [running]:"],
)
def test_what_fails_in_a_service_is_not_tried_again(
    stack: Stack, tmp_path: Path, said: str
) -> None:
    compose(tmp_path, f'echo "{said}"; exit 1')
    with pytest.raises(pytest.fail.Exception, match=said.split()[0]):
        stack.up()
    assert calls(tmp_path) == ["up"]


def test_who_had_to_be_killed_is_told(stack: Stack, tmp_path: Path) -> None:
    compose(
        tmp_path,
        f'[ "$2" = up ] && echo "compose: log: {tmp_path}/log"\n'
        '[ "$2" = down ] && echo "compose: gateway did not end in time: killed" >> log\nexit 0',
    )
    stack.up()
    assert stack.down() == ["gateway"]
