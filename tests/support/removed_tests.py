"""Which tests have vanished without a word: a commit made from an older tree removes them silently.

    python tests/support/removed_tests.py [BASE]

Every test that some commit after BASE has removed must be in the tree again, under the same name
and wherever it likes, or a commit after BASE must have a line `Removes: NAME`. Exit 1 and a
line for each name where that is not so. Moving and merging files is free.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

# The commit before this check: what was lost by then has been looked through by hand.
FIRST_BASE = "aa63dd6"
_TEST = r"\s*(?:async\s+)?def\s+(test_\w+)"
_REMOVED = re.compile(rf"^-{_TEST}", re.MULTILINE)
_PRESENT = re.compile(rf"^{_TEST}", re.MULTILINE)
_SAID = re.compile(r"^\s*Removes:\s*(.+)$", re.MULTILINE)


def unexplained(root: Path, base: str) -> list[str]:
    """Names of the tests that vanished after base and that no message removes, sorted.

    Raises subprocess.CalledProcessError where git does not know base.
    """
    changes = _git(root, "log", "-p", "-m", "--first-parent", "--format=", f"{base}..HEAD",
                   "--", "*.py")  # fmt: skip
    gone = set(_REMOVED.findall(changes)) - _present(root)
    return sorted(gone - _said(_git(root, "log", "--format=%B", f"{base}..HEAD")))


def _present(root: Path) -> set[str]:
    files = _git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", "tests").split("\0")
    names: set[str] = set()
    for file in files:
        if file.endswith(".py"):
            names.update(_PRESENT.findall(_git(root, "show", f"HEAD:{file}")))
    return names


def _said(messages: str) -> set[str]:
    return {name for line in _SAID.findall(messages) for name in re.split(r"[,\s]+", line)}


def _git(root: Path, *words: str) -> str:
    found = subprocess.run(["git", *words], cwd=root, capture_output=True, check=True)
    return found.stdout.decode("utf-8", "replace")


def main(words: Iterable[str]) -> int:
    """The program. words: the base, or nothing."""
    base = next(iter(words), FIRST_BASE)
    try:
        names = unexplained(Path.cwd(), base)
    except subprocess.CalledProcessError as error:
        print(f"git does not know the commits after {base}; the whole history is needed "
              f"(git fetch --unshallow): {error.stderr.decode()}", file=sys.stderr)  # fmt: skip
        return 2
    for name in names:
        print(f"{name} has vanished: bring it back, or say `Removes: {name}` in a commit's message")
    return 1 if names else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
