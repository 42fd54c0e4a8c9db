"""Aggregation: the direct minimiser of the expected loss, honest about spread, mergeable."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import MODELS, write_checkpoint

from p2l_model.analysis.aggregate import Accumulated, State, accumulate, summarise
from p2l_model.analysis.bootstrap import estimate
from p2l_model.analysis.leaderboard import uniform_win_rates
from p2l_model.analysis.pairwise import PairModel
from p2l_model.analysis.prompts import block_of, read_prompts
from p2l_model.analysis.scored import PromptReader
from p2l_model.analysis.soft_fit import Point, Targets, fit_sums
from p2l_model.analysis.sums import BlockSums
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.errors import DataError, ScoringError
from p2l_model.preference import log_probabilities, outcomes
from p2l_model.types import Conversation, FloatArray, Outcome, PreferenceFamily
from router.objective import opponent_weights, win_rates
from server.cli import main

FAMILIES = list(PreferenceFamily)
M = 6
# rk's raw eta is shifted by 22.5 and damped tenfold; the others' is a logarithm.
ETA = dict.fromkeys(FAMILIES, 0.3) | {PreferenceFamily.RK: 15.0}


def drawn(family: PreferenceFamily, n: int, seed: int = 0) -> HeadOutputs:
    chance = np.random.default_rng(seed)
    gamma = chance.normal(size=n) if family is PreferenceFamily.BA else np.zeros(n)
    coefficients = np.linspace(-1, 1, M) + 1.5 * chance.normal(size=(n, M))
    return HeadOutputs(coefficients, ETA[family] + chance.normal(size=n), gamma)


def sums_of(family: PreferenceFamily, outputs: HeadOutputs, weight: FloatArray) -> BlockSums:
    sums = BlockSums(family, M)
    sums.add(outputs, weight, np.arange(weight.size) % 100)
    return sums


@pytest.mark.parametrize("family", FAMILIES)
def test_the_matrices_are_the_familys_probabilities(family: PreferenceFamily) -> None:
    outputs, model = drawn(family, 9), PairModel(family)
    outputs.coefficients[0] *= 20  # certain to the last digit
    x, t = model.strengths(outputs), model.tie_factor(outputs.eta)
    logs = log_probabilities(
        family,
        outputs.coefficients[:, :, None],
        outputs.coefficients[:, None, :],
        outputs.eta[:, None, None],
        outputs.gamma[:, None, None],
    )
    np.testing.assert_allclose(model.win(x, t), np.exp(logs[..., 0]), rtol=1e-12)
    if model.has_bad:
        place = outcomes(family).index(Outcome.TIE_BOTHBAD)
        np.testing.assert_allclose(model.bad(x), np.exp(logs[..., place]), rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_direct_minimiser(family: PreferenceFamily) -> None:
    """Over all prompts x pairs, by another optimiser, without the sufficient statistic."""
    from scipy.optimize import minimize

    outputs = drawn(family, 40)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, size=40)
    fitted = fit_sums(family, sums_of(family, outputs, weight).total())
    a, b = np.triu_indices(M, 1)
    pairs = (outputs.coefficients[:, a], outputs.coefficients[:, b])
    target = np.exp(log_probabilities(family, *pairs, outputs.eta[:, None], outputs.gamma[:, None]))

    def loss(parameters: FloatArray) -> float:
        found = log_probabilities(family, parameters[a], parameters[b], parameters[M], fitted.gamma)
        return -float((weight[:, None, None] * target * found).sum() / weight.sum() / a.size)

    ours = np.append(fitted.coefficients, fitted.eta)
    start = np.append(np.full(M, fitted.gamma), ETA[family])
    direct = minimize(loss, start, method="BFGS", options={"gtol": 1e-8})
    assert loss(ours) == pytest.approx(fitted.loss, abs=1e-12)
    assert loss(ours) <= direct.fun + 1e-12
    level = direct.x[:M].mean() if PairModel(family).shift_invariant else 0.0
    np.testing.assert_allclose(direct.x[:M] - level, fitted.coefficients, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_and_information(family: PreferenceFamily) -> None:
    """Against differences; at its own probabilities the information is the Hessian."""
    outputs, model = drawn(family, 1), PairModel(family)
    truth = Targets.of(model, sums_of(family, outputs, np.ones(1)).total())
    at = np.append(model.strengths(outputs)[0], 0.0)
    at = np.append(np.log(at[:-1]), outputs.eta[0])
    other = at + np.random.default_rng(2).normal(size=M + 1, scale=0.3)
    steps = 1e-5 * np.eye(M + 1)
    slopes = [
        (Point(model, truth, other + s).loss - Point(model, truth, other - s).loss) / 2e-5
        for s in steps
    ]
    np.testing.assert_allclose(Point(model, truth, other).gradient(), slopes, atol=1e-8)
    curves = [
        (Point(model, truth, at + s).gradient() - Point(model, truth, at - s).gradient()) / 2e-5
        for s in steps
    ]
    found = Point(model, truth, at).information()
    if model.shift_invariant:
        found[:M, :M] -= 1 / M**2
    if not model.has_tie:
        found[M, M] = 0.0
    np.testing.assert_allclose(found, curves, atol=1e-8)


def test_one_prompts_leaderboard_is_its_own() -> None:
    outputs = drawn(PreferenceFamily.GRK, 1)
    fitted = fit_sums(
        PreferenceFamily.GRK, sums_of(PreferenceFamily.GRK, outputs, np.ones(1)).total()
    )
    np.testing.assert_allclose(fitted.coefficients, outputs.coefficients[0], atol=1e-6)
    assert fitted.eta == pytest.approx(float(outputs.eta[0]), abs=1e-6)


def test_a_coefficient_gone_wild_is_refused() -> None:
    outputs = drawn(PreferenceFamily.GRK, 2)
    outputs.coefficients[1, 0] = 1e6
    with pytest.raises(ScoringError, match="not finite or over 300"):
        sums_of(PreferenceFamily.GRK, outputs, np.ones(2))


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """The leaderboard of the whole distribution is in 95% of the intervals of samples from it."""
    family = PreferenceFamily.GRK
    truth = fit_sums(family, sums_of(family, drawn(family, 20_000, 99), np.ones(20_000)).total())
    inside = []
    for seed in range(40):
        found = estimate(sums_of(family, drawn(family, 200, seed), np.ones(200)), n_resamples=100)
        assert found.ci95 is not None
        inside.append(
            (found.ci95[:, 0] <= truth.coefficients) & (truth.coefficients <= found.ci95[:, 1])
        )
    assert 0.88 <= np.mean(inside) <= 0.98


@pytest.mark.slow
def test_ranks_of_equals_overlap() -> None:
    family = PreferenceFamily.BT
    outputs = HeadOutputs(
        np.random.default_rng(0).normal(size=(60, M)) + np.array([3, 0, 0, 0, 0, -3]),
        np.zeros(60),
        np.zeros(60),
    )
    found = estimate(sums_of(family, outputs, np.ones(60)))
    assert found.rank_ranges is not None
    assert found.rank_ranges[0].tolist() == [1, 1]
    assert found.rank_ranges[5].tolist() == [6, 6]
    assert np.all(found.rank_ranges[1:5, 1] - found.rank_ranges[1:5, 0] >= 1)


def test_one_block_has_no_interval() -> None:
    sums = BlockSums(PreferenceFamily.BT, M)
    sums.add(drawn(PreferenceFamily.BT, 5), np.ones(5), np.zeros(5, dtype=np.int64))
    found = estimate(sums)
    assert found.ci95 is None
    assert found.rank_ranges is None


def test_win_rates_are_the_routers() -> None:
    coefficients = drawn(PreferenceFamily.GRK, 1).coefficients[0]
    opponents, weights = opponent_weights(tuple("abcdef"), coefficients, None)
    expected = win_rates(coefficients, opponents, weights)
    np.testing.assert_allclose(uniform_win_rates(coefficients), expected, rtol=1e-12)


@pytest.fixture
def reader(tmp_path: Path) -> PromptReader:
    return PromptReader.load(str(write_checkpoint(tmp_path / "checkpoint")))


def write_prompts(path: Path, n: int = 40) -> Path:
    rows = [{"prompt": f"{'abc'[i % 3]} prompt {i}", "topic": "xy"[i % 2]} for i in range(n)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(path: Path, reader: PromptReader, by: str | None = None) -> Accumulated:
    fresh = Accumulated(reader.family, reader.models)
    return accumulate(read_prompts(str(path), by=by, chunk=8), reader, fresh, lambda done: None)


@pytest.mark.slow
def test_parts_merge_to_the_whole(tmp_path: Path, reader: PromptReader) -> None:
    lines = write_prompts(tmp_path / "all.jsonl").read_text().splitlines()
    whole = read(tmp_path / "all.jsonl", reader, "topic")
    (tmp_path / "one.jsonl").write_text("\n".join(lines[:13]))
    (tmp_path / "two.jsonl").write_text("\n".join(lines[13:]))
    merged = read(tmp_path / "two.jsonl", reader, "topic")
    merged.merge(read(tmp_path / "one.jsonl", reader, "topic"))
    ours, theirs = (summarise(part, "topic", n_resamples=50) for part in (merged, whole))
    assert set(ours.groups) == {"x", "y"}
    for a, b in zip(ours.overall, theirs.overall, strict=True):
        assert a.model == b.model
        assert a.coefficient == pytest.approx(b.coefficient, abs=1e-9)
        assert a.ci95 == pytest.approx(b.ci95, abs=1e-6)


def test_a_killed_run_goes_on(
    tmp_path: Path, reader: PromptReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_prompts(tmp_path / "all.jsonl"))
    monkeypatch.setattr("p2l_model.analysis.aggregate._SAVE_EVERY", 16)

    def die(done: int) -> None:
        if done > 30:
            raise KeyboardInterrupt

    fresh = Accumulated(reader.family, reader.models)
    state = State(tmp_path / "work", {"by": None})
    with pytest.raises(KeyboardInterrupt):
        accumulate(read_prompts(path, chunk=8), reader, fresh, die, state)
    again = State(tmp_path / "work", {"by": None}).load(Accumulated(reader.family, reader.models))
    assert again.n_rows == 16
    done = accumulate(
        read_prompts(path, chunk=8, skip=again.n_rows), reader, again, lambda done: None, state
    )
    assert done.n_rows == 40
    whole = read(Path(path), reader)
    np.testing.assert_allclose(done.total().total().win, whole.total().total().win, rtol=1e-12)
    with pytest.raises(DataError, match="another run"):
        State(tmp_path / "work", {"by": "topic"}).load(fresh)


def test_copies_of_a_prompt_share_a_block() -> None:
    prompts = [Conversation((f"p{i % 7}",)) for i in range(21)]
    block = block_of(prompts, 100)
    assert np.array_equal(block[:7], block[7:14])
    assert len(set(block.tolist())) > 3


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["aggregate", *args]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_command_writes_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    prompts = str(write_prompts(tmp_path / "p.jsonl"))
    common = ("--prompts", prompts, "--checkpoint", checkpoint, "--by", "topic")
    work = ("--work", str(tmp_path / "work"))
    files = ("--csv", str(tmp_path / "b.csv"), "--png", str(tmp_path / "b.png"))
    common = (*common, "--resamples", "100")
    report = json.loads(run(capsys, *common, *files, *work, "--json"))
    assert [row["rank"] for row in report["data"]] == [1, 2, 3]
    assert report["n_prompts"] == 40
    assert set(report["groups"]) == {"x", "y"}
    for row in report["data"]:
        assert row["ci95"][0] <= row["coefficient"] <= row["ci95"][1]
        assert row["rank_range"][0] <= row["rank"] <= row["rank_range"][1]
    with (tmp_path / "b.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 9
    assert rows[0]["model"] == report["data"][0]["model"]
    assert (tmp_path / "b.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    again = json.loads(run(capsys, *common, *work, "--json"))
    assert again == report, "finished work is taken up again"
    assert "all prompts: 40 prompts" in run(capsys, *common)


@pytest.mark.slow
def test_users_are_drawn_to_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    # two users with tastes in prompts, one who has asked once
    lines = [{"prompt": f"{'ab'[i % 2]} prompt {i}", "who": "xy"[i % 2]} for i in range(60)]
    lines.append({"prompt": "a prompt", "who": "new"})
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    common = ("--prompts", str(tmp_path / "p.jsonl"), "--checkpoint", checkpoint,
              "--resamples", "60")  # fmt: skip
    report = json.loads(run(capsys, *common, "--user", "who", "--json"))
    plain = json.loads(run(capsys, *common, "--by", "who", "--json"))
    assert report["data"] == plain["data"]
    away = {}
    for name, group in report["groups"].items():
        own = {row["model"]: row["coefficient"] for row in plain["groups"][name]["data"]}
        everyones = {row["model"]: row["coefficient"] for row in plain["data"]}
        for row in group["data"]:
            low, high = sorted((own[row["model"]], everyones[row["model"]]))
            assert low - 1e-9 <= row["coefficient"] <= high + 1e-9
            assert row["ci95"][0] <= row["coefficient"] <= row["ci95"][1]
        kept = sum(abs(row["coefficient"] - everyones[row["model"]]) for row in group["data"])
        away[name] = kept / sum(abs(own[name] - everyones[name]) for name in own)
    assert away["new"] < min(away["x"], away["y"]) <= 1.0


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".txt"])
def test_every_kind_of_file_gives_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    texts = [f"{'abc'[i % 3]} prompt {i}" for i in range(12)]
    write_prompts(tmp_path / "p.jsonl", 12)
    if suffix == ".parquet":
        pq.write_table(pa.table({"prompt": texts}), tmp_path / "p.parquet")
    else:
        head = ["prompt"] if suffix == ".csv" else []
        (tmp_path / f"p{suffix}").write_text("\n".join(head + texts))
    found = [
        json.loads(run(capsys, "--prompts", str(tmp_path / name), "--checkpoint", checkpoint,
                       "--resamples", "0", "--json"))
        for name in ("p.jsonl", f"p{suffix}")
    ]  # fmt: skip
    assert found[0] == found[1]
    assert found[0]["data"][0]["ci95"] is None


def test_weights_and_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "weight": 2}\n{"prompt": "b"}')
    (tmp_path / "b.jsonl").write_text(
        '{"prompt": "a"}\n{"prompt": "b"}\n{"messages": [{"role": "user", "content": "a"}]}'
    )
    names = ",".join(MODELS[:2])
    boards = [
        json.loads(run(capsys, "--prompts", str(tmp_path / name), "--checkpoint", checkpoint,
                       "--models", names, "--resamples", "0", "--json"))["data"]
        for name in ("a.jsonl", "b.jsonl")
    ]  # fmt: skip
    assert len(boards[0]) == 2
    for a, b in zip(*boards, strict=True):
        assert a["coefficient"] == pytest.approx(b["coefficient"], abs=1e-9)


@pytest.mark.parametrize(
    ("content", "args", "said"),
    [
        ('{"prompt": "a"}', ["--by", "topic"], "no column 'topic'"),
        ('{"prompt": "a"}', ["--by", "x", "--user", "x"], "not both"),
        ('{"prompt": "a", "x": "u"}', ["--user", "x"], "two users at least"),
        ('{"text": "a"}', [], "neither a column prompt nor messages"),
        ('{"prompt": "a"}\n{"prompt": 3}', [], "row 2: prompt must be"),
        ('{"prompt": "a"}\nno', [], "row 2 is not JSON"),
        ('{"prompt": "a", "weight": -1}', [], "row 1: weight"),
        ('{"prompt": "a", "weight": 0}', [], "no weight"),
        ('{"prompt": "a"}', ["--models", "alpha,nobody"], "no model nobody"),
        ('{"prompt": "a"}', ["--models", "alpha"], "at least two"),
        ('{"prompt": "a"}', ["--csv", "/nonexistent/x.csv"], "no such folder"),
        ("", [], "has no rows"),
    ],
)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, args: list[str], said: str
) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    (tmp_path / "p.jsonl").write_text(content)
    paths = ["--prompts", str(tmp_path / "p.jsonl"), "--checkpoint", checkpoint]
    assert main(["aggregate", *paths, *args]) == 2
    assert said in capsys.readouterr().err
