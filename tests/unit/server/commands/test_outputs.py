"""Tables are read by people and by programs: aligned, uncut, without colours."""

from __future__ import annotations

import io
import sys

import pytest

from server.commands.outputs import left, table_lines
from server.commands.progress import progress_bars


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    name = "a-model-with-a-name-of-more-than-thirty-six-characters"
    lines = table_lines((left("model"), "USD"), [(name, "1.5"), ("模型", "12"), ("b\nc", "")])
    assert lines[0] == "model" + " " * (len(name) - 5) + "  USD"
    assert lines[1] == f"{name}  1.5"
    assert lines[2] == "模型" + " " * (len(name) - 4) + "   12"
    assert lines[3] == "b c", "a cell is one line, and nothing trails it"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.delenv("COLORTERM", raising=False)
    said = Terminal()
    monkeypatch.setattr(sys, "stderr", said)
    with progress_bars() as report:
        report("reading", 1, 2)
    coloured = "\x1b[38;" in said.getvalue() or "\x1b[3" in said.getvalue()
    assert coloured is not bool(no_color)
