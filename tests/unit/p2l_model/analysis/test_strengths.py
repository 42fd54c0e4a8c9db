"""Strengths: planted ones are found, chance is not taken for one, the report is safe to open."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import write_checkpoint

from p2l_model.analysis.clusters import adjusted_rand_index, find_clusters
from p2l_model.analysis.naming import distinguishing_words
from p2l_model.analysis.report import render_report
from p2l_model.analysis.strengths import benjamini_hochberg, strengths
from p2l_model.analysis.study import Category, StrengthsStudy
from p2l_model.analysis.sums import BlockSums
from p2l_model.checkpoint.heads import HeadOutputs
from p2l_model.errors import DataError
from p2l_model.types import Conversation, FloatArray, PreferenceFamily
from server.cli import main

MODELS = ("a", "b", "c", "d", "e")
CATEGORIES = ("law", "maths", "poems")


def groups_of(shift: FloatArray, n: int, seed: int) -> dict[str, BlockSums]:
    """shift: (categories, models), on top of what varies by prompt."""
    chance = np.random.default_rng(seed)
    groups = {}
    for name, own in zip(CATEGORIES, shift, strict=True):
        coefficients = np.linspace(1, -1, 5) + own + 0.7 * chance.normal(size=(n, 5))
        outputs = HeadOutputs(coefficients, chance.normal(size=n), np.zeros(n))
        groups[name] = BlockSums(PreferenceFamily.GRK, 5)
        groups[name].add(outputs, np.ones(n), chance.integers(0, 100, size=n))
    return groups


@pytest.mark.slow
def test_a_planted_strength_is_found_and_a_hard_category_is_nobodys_weakness() -> None:
    shift = np.zeros((3, 5))
    shift[1, 2] = 1.5  # c is good at maths
    shift[2] = -2.0  # poems are hard for all
    found = strengths(MODELS, groups_of(shift, 150, 0), n_resamples=100)
    assert np.unravel_index(found.deviation.argmax(), (3, 5)) == (1, 2)
    assert bool(found.significant[1, 2])
    low, high = found.ci95[1, 2]
    assert low < found.deviation[1, 2] < high
    assert found.level[2] < -1.0
    # relative to the field and to all three categories c gains 1.5 * (1 - 1/3) * (1 - 1/5)
    assert found.deviation[1, 2] == pytest.approx(0.8, abs=0.25)
    rows = {row["model"]: row for row in found.to_json()["models"]}
    assert rows["c"]["cells"][0]["category"] == "maths"


@pytest.mark.slow
def test_chance_is_seldom_called_a_strength() -> None:
    """Without any strengths few runs have a discovery: the promised 5%, but for noise."""
    runs = [
        strengths(MODELS, groups_of(np.zeros((3, 5)), 60, seed), n_resamples=60)
        for seed in range(40)
    ]
    assert np.mean([np.any(found.significant) for found in runs]) <= 0.15


@pytest.mark.slow
def test_few_prompts_have_no_interval() -> None:
    groups = groups_of(np.zeros((3, 5)), 60, 0)
    groups["law"] = groups_of(np.zeros((3, 5)), 3, 1)["law"]
    found = strengths(MODELS, groups, n_resamples=60)
    assert np.isnan(found.p_value[0]).all()
    assert found.cell(0, 0)["ci95"] is None
    assert not found.cell(0, 0)["significant"]
    with pytest.raises(DataError, match="one category only"):
        strengths(MODELS, {"law": groups["law"]})


@pytest.mark.slow
def test_benjamini_hochberg() -> None:
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).uniform(size=(4, 6)) ** 3
    expected = false_discovery_control(p.ravel()).reshape(p.shape)
    np.testing.assert_allclose(benjamini_hochberg(p), expected)
    p[0] = np.nan
    assert np.isnan(benjamini_hochberg(p)[0]).all()
    np.testing.assert_allclose(
        benjamini_hochberg(p)[1:].ravel(), false_discovery_control(p[1:].ravel())
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 1, 1], [5, 5, 3, 3], 1.0),
        ([0, 0, 1, 1], [0, 0, 1, 2], 4 / 7),
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
    ],
)
def test_adjusted_rand_index(first: list[int], second: list[int], expected: float) -> None:
    assert adjusted_rand_index(np.array(first), np.array(second)) == pytest.approx(expected)


def test_planted_clusters_are_found_and_stable() -> None:
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 3, size=200)
    features = 6.0 * chance.normal(size=(3, 20))[truth] + chance.normal(size=(200, 20))
    found = find_clusters(features, 3)
    assert adjusted_rand_index(found.labels, truth) > 0.98
    assert min(found.adjusted_rand) > 0.95
    sizes = np.bincount(found.labels)
    assert list(sizes) == sorted(sizes, reverse=True)
    assert [len(typical) for typical in found.typical] == list(sizes)
    noise = find_clusters(chance.normal(size=(200, 20)), 3)
    assert max(noise.adjusted_rand) < 0.7


def test_clusters_need_prompts() -> None:
    with pytest.raises(DataError, match="too few"):
        find_clusters(np.random.default_rng(0).normal(size=(20, 4)), 8)
    with pytest.raises(DataError, match="all alike"):
        find_clusters(np.ones((40, 4)), 2)


def test_words_that_set_apart() -> None:
    maths = [Conversation((f"please integrate the function number {i}",)) for i in range(10)]
    poems = [Conversation((f"please write the sonnet number {i}",)) for i in range(10)]
    chinese = [Conversation(("请写一首诗",)) for _ in range(10)]
    words = distinguishing_words([maths, poems, chinese])
    assert {"integrate", "function"} <= set(words[0])
    assert {"write", "sonnet"} <= set(words[1])
    assert words[2] == ("一首", "写一", "请写"), "the same in every run"
    # words that are in prompts of any kind name none of them
    idle = [Conversation((f"what can you tell for many of these oceans {i}",)) for i in range(10)]
    assert distinguishing_words([idle, maths])[0] == ("oceans",)
    assert distinguishing_words([[Conversation(("",))], [Conversation(("1 2",))]]) == [(), ()]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}</style></title>&amp;"


class Tags(HTMLParser):
    """Names and attributes of every element."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.mark.slow
def test_the_report_escapes_what_it_shows() -> None:
    names = tuple(EVIL + name for name in MODELS)
    groups = {EVIL + name: sums for name, sums in groups_of(np.zeros((3, 5)), 30, 0).items()}
    found = strengths(names, groups, n_resamples=50)
    evil = Conversation((EVIL, EVIL))
    categories = tuple(Category(name, (EVIL,), (evil,)) for name in found.categories)
    html = render_report(StrengthsStudy(found, categories, (0.5,)), title=EVIL)
    tags = Tags()
    tags.feed(html)
    kinds = {tag for tag, _ in tags.seen}
    assert {"table", "svg", "polyline", "details"} <= kinds
    assert not {"script", "img", "link", "iframe", "a"} & kinds
    attributes = {name for _, attrs in tags.seen for name in attrs}
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href")]
    assert "49" not in html.split("{{ 7*7 }}")[1][:10]
    assert html.count("<style>") == html.count("</style>") == 1


@pytest.mark.slow
def test_the_report_on_a_phone_and_in_the_dark(tmp_path: Path) -> None:
    from browser import chromium

    names = tuple(f"a-model-with-a-rather-long-name-{name}" for name in MODELS)
    groups = {f"kind {k}": s for k, s in enumerate(groups_of(np.eye(3, 5), 60, 0).values())}
    found = strengths(names, groups, n_resamples=50)
    categories = tuple(Category(name, (), ()) for name in found.categories)
    html = render_report(StrengthsStudy(found, categories, (0.5,)), title="Strengths")
    assert "log-odds" not in html
    (tmp_path / "r.html").write_text(html)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        page.goto((tmp_path / "r.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        colours = page.evaluate("getComputedStyle(document.body).backgroundColor")
        # the numbers of the first kind are seen beside the names without scrolling
        cell = page.locator(".heat td.cell").first.bounding_box()
        best = page.locator(".stands td.up").first.bounding_box()
    assert colours == "rgb(20, 23, 29)"
    assert cell is not None
    assert cell["x"] + cell["width"] <= 390
    assert best is not None
    assert best["x"] + best["width"] <= 390


def write_prompts(path: Path) -> Path:
    rows = [
        {"prompt": f"{word} " * 4 + str(i), "topic": word}
        for i in range(40)
        for word in ("abba", "zozo")
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("by", [True, False])
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], by: bool) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    prompts = str(write_prompts(tmp_path / "p.jsonl"))
    how = ["--by", "topic"] if by else ["--clusters", "2"]
    args = [
        "strengths",
        "--prompts",
        prompts,
        "--checkpoint",
        checkpoint,
        "--resamples",
        "50",
        *how,
    ]
    files = ["--out", str(tmp_path / "r.html"), "--csv", str(tmp_path / "r.csv")]
    assert main([*args, *files, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    words = [category["words"] for category in report["categories"]]
    assert sorted(word for own in words for word in own) == ["abba", "zozo"]
    assert [category["n_prompts"] for category in report["categories"]] == [40, 40]
    assert (report["stability"] is None) == by
    if not by:
        assert report["stability"]["adjusted_rand_index"] == 1.0
    for row in report["models"]:
        assert len(row["cells"]) == 2
        assert row["cells"][0]["deviation"] >= row["cells"][1]["deviation"]
    with (tmp_path / "r.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 6
    assert "abba abba" in (tmp_path / "r.html").read_text()
    assert main([*args, "--model", "beta"]) == 0
    assert "95%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "nobody"], "--model nobody"),
        (["--by", "topic", "--clusters", "3"], "given or found"),
        (["--resamples", "3"], "at least 50"),
        (["--clusters", "50"], "too few for 50"),
    ],
)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    checkpoint = str(write_checkpoint(tmp_path / "checkpoint"))
    prompts = str(write_prompts(tmp_path / "p.jsonl"))
    assert main(["strengths", "--prompts", prompts, "--checkpoint", checkpoint, *args]) == 2
    assert said in capsys.readouterr().err
