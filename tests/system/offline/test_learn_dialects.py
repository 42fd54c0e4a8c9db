"""`learn` asks providers of every dialect, on either database."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from command_line import p2l_router
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import ANY_MODEL, Behaviour, FakeProvider

from server.storage.database import Database
from server.storage.spend import spend

CONFIG = """
providers:
  plain: {{kind: openai, profile: generic, base_url: "{plain}", api_key_env: KEY}}
  claude: {{kind: anthropic, base_url: "{claude}", api_key_env: KEY}}
  google: {{kind: gemini, base_url: "{google}", api_key_env: KEY}}
models:
  gpt-one: {{provider: plain, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  claude-haiku-4-5: {{provider: claude, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  gemini-2.5-flash: {{provider: google, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt-one: 0.1, claude-haiku-4-5: 0.5, gemini-2.5-flash: 0}}}}
storage: {{url: "{storage}"}}
"""
VERDICT = '{"reason": "shorter", "better": "first"}'


@pytest.mark.slow
def test_every_dialect_answers_and_judges(tmp_path: Path, storage_url: str) -> None:
    with FakeProvider() as plain, FakeAnthropic() as claude, FakeGemini() as google:
        urls = {"plain": plain.base_url, "claude": claude.base_url, "google": google.base_url}
        (tmp_path / "config.yaml").write_text(CONFIG.format(**urls, storage=storage_url))
        (tmp_path / "prompts.jsonl").write_text('{"prompt": "One?"}\n{"prompt": "Two?"}\n')
        for one, said in ((plain, "plain"), (claude, VERDICT), (google, "google")):
            one.script(ANY_MODEL, Behaviour(texts=(said,)))
        done = p2l_router(
            *("learn", "--config", str(tmp_path / "config.yaml"), "--spend", "1", "--json"),
            *("--prompts", str(tmp_path / "prompts.jsonl"), "--judge", "claude-haiku-4-5"),
            *("--out", str(tmp_path / "out"), "--apply"),
            environ={**os.environ, "KEY": "unused"},
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    found = tmp_path / "out" / "answers.jsonl"
    answers = [json.loads(one) for one in found.read_text().splitlines()]
    texts = {(row["catalogue_name"], row["answer"]) for row in answers}
    expected = {("gpt-one", "plain"), ("gemini-2.5-flash", "google"), ("claude-haiku-4-5", VERDICT)}
    assert texts == expected
    assert all(row["output_tokens"] > 0 and row["cost_usd"] > 0 for row in answers)
    # Claude's own answers are judged by another model, which here cannot.
    assert summary["n_unread"] == 2 * 2
    # The first answer is always better: every pair flips with the order, which is a tie.
    by_claude = [one for one in summary["models"] if one["judge"] == "claude-haiku-4-5"]
    assert by_claude
    assert all(one["judged_raw"] == 0.5 for one in by_claude)
    assert summary["biases"][0]["flips"] == 1.0
    database = Database(storage_url)
    (row,) = spend(database, "key", 0, 1e11)
    database.close()
    assert row.cost_usd == Decimal(str(summary["spent_usd"]))
    assert summary["applied"] > 0
