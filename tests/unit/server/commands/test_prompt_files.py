"""Prompts that commands read from files."""

from __future__ import annotations

import json
from pathlib import Path

from server.commands.prompts import read_file


def test_a_line_of_json_may_hold_any_character(tmp_path: Path) -> None:
    """JSON leaves the separators of lines of Unicode as they are."""
    said = ["one\u2028two", "three\x85four\x0cfive"]
    rows = (json.dumps({"prompt": text}, ensure_ascii=False) for text in said)
    file = tmp_path / "prompts.jsonl"
    file.write_bytes("\r\n".join(rows).encode())
    assert [messages[-1]["content"] for messages in read_file(str(file))] == said
