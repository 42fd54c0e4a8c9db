"""The study of sessions, on one copy of the recorded jobs."""

from __future__ import annotations

import importlib.util
import itertools
import random
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from server.offline.jobs.line import read_jobs

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def study() -> ModuleType:
    path = ROOT / "studies" / "study_sessions.py"
    spec = importlib.util.spec_from_file_location("study_sessions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_job_goes_on_where_the_recorded_one_ended(study: ModuleType) -> None:
    recorded = list(read_jobs(study.JOBS / "codex.jsonl"))
    lines = list(study.one_job(recorded, 7, random.Random(0)))
    assert len(lines) == len(recorded) + 2 * 8
    assert len({line.session for line in lines}) == 1
    times = [line.at_s for line in lines]
    assert times == sorted(times)
    later = lines[len(recorded) :]
    assert [line.new_words for line in later] == [True, *[False] * 7] * 2
    assert all(a.input_tokens < b.input_tokens for a, b in itertools.pairwise(lines))
    assert all(line.input_tokens < 100_000 for line in lines)
    boards = [line.leaderboard for line in lines if line.leaderboard is not None]
    assert len(boards) == 3


def test_the_picture_of_the_docs_is_one_of_this_job(study: ModuleType) -> None:
    for text in (study.picture(0), (ROOT / "docs" / "job-cost.svg").read_text()):
        root = ElementTree.fromstring(text)
        names = [child.tag.rpartition("}")[2] for child in root]
        assert names.count("polyline") == 4
        assert "rect" not in names, "it has no background, so that dark pages show it too"
