from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.build import build_scorer, database_of
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.gateway.local_layers import ALL
from server.gateway.planner import Planner
from server.storage.database import Database
from server.storage.graded_answers import GradedAnswer, graded_answers
from server.storage.grades import Grade, add_grades
from server.storage.migrate import migrate
from server.tasks import learn_local
from server.tasks.learn_local import current

CONFIG = """
providers: {{p: {{base_url: "http://127.0.0.1:9/v1"}}}}
models:
  gpt-4o: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  our-own: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt-4o: 1, llama-3.1-8b: -1}}}}
storage: {{url: "sqlite:///{folder}/ledger.db"}}
"""


def grades(first: int, n: int) -> list[Grade]:
    numbers = range(first, first + n)
    return [Grade(id=f"g{k}", source="judge", model="gpt-4o", score=k % 2) for k in numbers]


def test_answers_that_come_while_others_are_read_are_in_what_the_version_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two gateways would have different layers under one name."""
    settings = parse_settings(CONFIG.format(folder=tmp_path))
    database = database_of(settings.storage)
    readings: list[int] = []

    def read(of: Database) -> Iterator[GradedAnswer]:
        found = list(graded_answers(of))
        if not readings:
            add_grades(of, grades(30, 1))
        readings.append(len(found))
        yield from found

    try:
        migrate(database)
        add_grades(database, grades(0, 30))
        scorer = build_scorer(settings.scorer)
        planner = Planner(build_catalogue(settings), settings.routing, settings.scorer, scorer)
        frame = planner.frame()
        assert frame is not None
        monkeypatch.setattr(learn_local, "graded_answers", read)
        found = current(database, frame, settings.learning, "", time.time())
        assert found is not None
        assert readings == [30, 31]
        assert found.by_scope[ALL].state.n_answers == 31
        assert current(database, frame, settings.learning, found.version, time.time()) is None
    finally:
        database.close()
