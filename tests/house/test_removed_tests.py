"""A test may only vanish when a commit says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from removed_tests import unexplained

ONE = "def test_one() -> None:\n    pass\n"
TWO = "class TestBoth:\n    async def test_two(self) -> None:\n        pass\n"


class Repository:
    """A small one of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q", "-b", "main")
        self.base = self.commit("Begin", {"tests/test_a.py": ONE + TWO})

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0")
        found = subprocess.run(
            ["git", *identity, *words], cwd=self.root, capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    def commit(self, message: str, files: dict[str, str]) -> str:
        """The tree of tests becomes these files."""
        for old in self.root.glob("tests/**/*.py"):
            old.unlink()
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_test_that_vanishes_is_named(repository: Repository) -> None:
    repository.commit("Mend something else", {"tests/test_a.py": ONE})
    assert unexplained(repository.root, repository.base) == ["test_two"]


def test_it_stays_named_however_many_commits_follow(repository: Repository) -> None:
    repository.commit("Mend something else", {"tests/test_a.py": TWO})
    repository.commit("Go on", {"tests/test_a.py": TWO, "tests/test_b.py": "def test_new(): ...\n"})
    assert unexplained(repository.root, repository.base) == ["test_one"]


def test_one_that_came_and_went_within_the_change_is_named_too(repository: Repository) -> None:
    repository.commit("Add", {"tests/test_a.py": ONE + TWO, "tests/test_b.py": "def test_c(): 0\n"})
    repository.commit("An older tree", {"tests/test_a.py": ONE + TWO})
    assert unexplained(repository.root, repository.base) == ["test_c"]


def test_moving_and_merging_files_is_free(repository: Repository) -> None:
    repository.commit("Move", {"tests/unit/test_b.py": TWO, "tests/unit/test_c.py": ONE})
    assert unexplained(repository.root, repository.base) == []
    repository.commit("Merge", {"tests/test_all.py": ONE + TWO})
    assert unexplained(repository.root, repository.base) == []


@pytest.mark.parametrize(
    "message",
    ["Drop\n\nRemoves: test_two", "Drop\n\nwhy\n\nRemoves: test_other, test_two\nMore: words"],
)
def test_a_commit_may_say_so(repository: Repository, message: str) -> None:
    repository.commit(message, {"tests/test_a.py": ONE})
    assert unexplained(repository.root, repository.base) == []


def test_what_comes_back_is_fine(repository: Repository) -> None:
    repository.commit("An older tree", {"tests/test_a.py": ONE})
    repository.commit("Restore", {"tests/test_a.py": ONE, "tests/test_b.py": TWO})
    assert unexplained(repository.root, repository.base) == []


def test_an_unknown_base_is_an_error(repository: Repository) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        unexplained(repository.root, "0" * 40)
