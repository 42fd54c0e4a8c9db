"""The library: what the package offers is there, its example runs, and importing it is light."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import p2l_model
import router

ROOT = Path(__file__).parents[3]


def test_the_examples_run() -> None:
    found = doctest.testmod(router)
    assert found.attempted > 8
    assert found.failed == 0


@pytest.mark.parametrize("package", [router, p2l_model])
def test_every_name_is_there(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    for name in names:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="Nothing"):
        package.Nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("package", ["server", "router", "p2l_model"])
def test_type_checkers_may_read_it(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_importing_it_is_light() -> None:
    script = "import router, sys; print([m for m in ('numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_prompt_is_routed_without_the_server() -> None:
    example = ROOT / "examples" / "library.py"
    done = subprocess.run(
        [sys.executable, str(example), "Prove that the square root of 2 is irrational.", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("mistral-large-2512: wins ")
    statements = [line for line in example.read_text().splitlines() if "import" not in line]
    assert len(statements) < 40
