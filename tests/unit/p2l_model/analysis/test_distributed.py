"""Aggregation in parts: no part twice, none lost, and the same result as in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import write_checkpoint

from p2l_model.analysis.aggregate import Accumulated, accumulate, summarise
from p2l_model.analysis.distributed import (
    Job,
    accumulate_on_ray,
    merged,
    parts_of,
    score_part,
)
from p2l_model.analysis.prompts import read_prompts
from p2l_model.analysis.scored import PromptReader
from p2l_model.errors import DataError
from server.cli import main

N_PROMPTS = 60


def write_files(folder: Path, n: int = N_PROMPTS) -> list[Path]:
    """A parquet file with row groups, a JSONL and a CSV file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    rows = [{"prompt": f"{'abc'[i % 3]} prompt {i}", "topic": "xy"[i % 2]} for i in range(n)]
    third = n // 3
    pq.write_table(pa.Table.from_pylist(rows[:third]), folder / "1.parquet", row_group_size=7)
    (folder / "2.jsonl").write_text("\n".join(map(json.dumps, rows[third : 2 * third])))
    lines = [f"{row['prompt']},{row['topic']}" for row in rows[2 * third :]]
    (folder / "3.csv").write_text("\n".join(["prompt,topic", *lines]))
    return sorted(folder.iterdir())


def job_of(tmp_path: Path) -> Job:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    models = PromptReader.load(checkpoint).models
    return Job(checkpoint, "auto", models, "topic", 100, str(tmp_path / "work"), {})


def in_one_process(job: Job, files: list[Path]) -> Accumulated:
    reader = PromptReader.load(job.checkpoint)
    found = Accumulated(reader.family, reader.models)
    for file in files:
        accumulate(read_prompts(str(file), by=job.by), reader, found, lambda done: None)
    return found


def assert_same(ours: Accumulated, theirs: Accumulated) -> None:
    win, other_win = ours.total().total().win, theirs.total().total().win
    np.testing.assert_allclose(win, other_win, rtol=1e-12)
    assert ours.n_rows == theirs.n_rows
    a, b = summarise(ours, "topic", n_resamples=50), summarise(theirs, "topic", n_resamples=50)
    assert a.groups.keys() == b.groups.keys()
    for first, second in zip(
        [a.overall, *a.groups.values()], [b.overall, *b.groups.values()], strict=True
    ):
        assert first.models == second.models
        assert first.n_prompts == second.n_prompts
        for mine, other in zip(first, second, strict=True):
            assert mine.coefficient == pytest.approx(other.coefficient, abs=1e-6)
            assert mine.ci95 == pytest.approx(other.ci95, abs=1e-4)


@pytest.mark.slow
def test_parts_cover_every_row_once(tmp_path: Path) -> None:
    files = write_files(tmp_path / "prompts")
    job, parts = job_of(tmp_path), parts_of([str(tmp_path / "prompts")], 8)
    assert [part.first for part in parts if part.path.endswith("parquet")] == [0, 8, 16]
    reader = PromptReader.load(job.checkpoint)
    with pytest.raises(DataError, match="not scored: run it again"):
        merged(job, parts)
    assert sum(score_part(job, part, reader) for part in reversed(parts)) == N_PROMPTS
    assert_same(merged(job, parts), in_one_process(job, files))


def test_a_finished_part_is_not_scored_again(tmp_path: Path) -> None:
    write_files(tmp_path / "prompts")
    job, parts = job_of(tmp_path), parts_of([str(tmp_path / "prompts")], 8)
    reader = PromptReader.load(job.checkpoint)
    score_part(job, parts[0], reader)

    class Broken:
        family, models = reader.family, reader.models

        def features(self, conversations: Any) -> Any:
            raise AssertionError("scored again")

        def outputs(self, features: Any) -> Any:
            return reader.outputs(features)

    assert score_part(job, parts[0], Broken()) == 8
    with pytest.raises(AssertionError, match="scored again"):
        score_part(job, parts[1], Broken())
    assert sorted(Path(job.work).rglob("*.partial")) == []


def test_bad_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aggregate", "--prompts", str(tmp_path), "--replicas", "2"]) == 2
    assert "needs --work" in capsys.readouterr().err
    work = ["--replicas", "2", "--work", str(tmp_path / "work")]
    assert main(["aggregate", "--prompts", str(tmp_path), *work]) == 2
    assert "no rows in any" in capsys.readouterr().err


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that computes nothing and two workers of one core each."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed (make test-ray)")
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20}
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory}
    )
    workers = [found.add_node(num_cpus=1, **memory) for _ in range(2)]
    ray.init(address=found.address, log_to_driver=False)
    yield found, workers
    ray.shutdown()
    found.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_killed_in_the_middle_costs_nothing(tmp_path: Path, cluster: Any) -> None:
    files = write_files(tmp_path / "prompts", 900)
    job, parts = job_of(tmp_path), parts_of([str(tmp_path / "prompts")], 30)
    found, workers = cluster
    killed: list[int] = []

    def kill_one(done: int) -> None:
        if not killed and done >= 300:
            found.remove_node(workers[1], allow_graceful=False)
            killed.append(done)

    result = accumulate_on_ray(job, parts, kill_one, replicas=2)
    assert killed
    assert killed[0] < 900
    assert_same(result, in_one_process(job, files))
    again: list[int] = []
    assert_same(accumulate_on_ray(job, parts, again.append, replicas=2), result)
    assert again == [], "a second run finds everything done"
