"""Who a process speaks to: every name it looks up, every address it connects or sends to.

A library that is preloaded (outward.c) writes them down, so native code is seen as Python's is, and
nothing that is not this machine is reached.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")
_LOCAL = ("127.", "::1 ", "::ffff:127.")


@dataclass(frozen=True)
class Outward:
    """What processes with this environment did. folder: its own; home lies in it."""

    folder: Path
    library: Path

    @property
    def environ(self) -> dict[str, str]:
        """To be added to a process's environment: its home is new and empty."""
        return {
            "LD_PRELOAD": str(self.library),
            "P2L_OUTWARD_LOG": str(self._log),
            "HOME": str(self.home),
        }

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def seen(self) -> list[str]:
        """`name HOST`, `connect ADDRESS port N`, in the order in which they came."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def strangers(self) -> list[str]:
        """Those of them that are not this machine."""
        return [one for one in self.seen if not one.partition(" ")[2].startswith(_LOCAL)]

    @property
    def _log(self) -> Path:
        return self.folder / "outward.log"


def outward(folder: Path) -> Outward:
    """Skips where there is no C compiler or no preloading."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is here (apt-get install gcc libc6-dev)")
    library = folder / "outward.so"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(_SOURCE)]
    subprocess.run([*command, "-ldl"], check=True, capture_output=True)
    found = Outward(folder, library)
    found.home.mkdir()
    return found
