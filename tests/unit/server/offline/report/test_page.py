"""The page and its picture: what is drawn is what is true, and nothing covers anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import chromium

from p2l_model.types import Conversation
from server.offline.report.axes import cost_axis
from server.offline.report.findings import Findings, find
from server.offline.report.labels import Box, Point, place, width_of
from server.offline.report.measured import measured
from server.offline.report.page import page, write_page
from server.offline.report.picture import draw_png
from server.offline.report.plane import NARROW, WIDE, Size, draw
from server.offline.report.reach import steps
from server.offline.simulate.curves import bootstrap_weights, curve_of
from server.offline.simulate.predict import Belief
from server.offline.simulate.table import ScoreTable

# Words that no manager reads.
JARGON = ("area", "hindsight", "marginal", "oracle", "pareto", "hull", "coefficient", "bootstrap",
          "log-odds", "bradley", "clairvoyant", "posterior", "lambda")  # fmt: skip


def world(n_models: int, n: int = 300, name: str = "model-with-a-long-name-{}") -> Findings:
    """Models between 0.03 and 15 dollars per 1,000 requests, the dearer mostly the better."""
    chance = np.random.default_rng(n_models)
    skill = np.linspace(0.3, 0.9, n_models) + 0.05 * chance.normal(size=n_models)
    cost = np.geomspace(3e-5, 1.5e-2, n_models) * np.exp(0.5 * chance.normal(size=n_models))
    ease = chance.normal(size=(n, 1))
    score = (chance.random((n, n_models)) < np.clip(skill + 0.15 * ease, 0, 1)).astype(float)
    paid = cost * np.exp(0.3 * chance.normal(size=(n, n_models)))
    table = ScoreTable(
        tuple(Conversation((str(k),)) for k in range(n)),
        tuple(name.format(k) for k in range(n_models)),
        score,
        paid,
        np.full(n, 10.0),
        np.array(["code", "maths", "prose"])[np.arange(n) % 3],
    )
    curve = curve_of(table, Belief(skill + 0.15 * ease, paid))
    latency = {table.models[0]: 0.8}
    return find(measured(table, curve, bootstrap_weights(n, 0, 100), latency))


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_router_is_drawn_as_its_mixes_score(size: Size) -> None:
    """At every pixel of the line the quality is that of a mix, which is straight in dollars."""
    found = world(12)
    drawing, seen = draw(found, size), found.measured
    assert drawing.x.log
    joined = steps(1000 * seen.router_cost[0], 100 * seen.router_score[0])
    dollars = np.array([drawing.x.value(point.x) for point in drawing.lines["router"]])
    drawn = np.array([drawing.y.value(point.y) for point in drawing.lines["router"]])
    assert len(drawn) > 40
    np.testing.assert_allclose(drawn, np.interp(dollars, joined.cost, joined.score))
    first, last = drawing.lines["mix"][0], drawing.lines["mix"][-1]
    dear = int(np.argmax(seen.single_score[0]))
    assert drawing.x.value(last.x) == pytest.approx(1000 * seen.single_cost[0, dear])
    assert drawing.y.value(last.y) == pytest.approx(100 * seen.single_score[0, dear])
    assert first.x < last.x


def test_a_mix_of_two_models_is_bent_on_an_axis_of_equal_ratios() -> None:
    """As in real data: between 0.028 and 0.48 dollars, the mix at 0.151 is at 0.808, not 0.862."""
    table = ScoreTable(
        (Conversation(("a",)), Conversation(("b",))),
        ("cheap", "dear"),
        np.tile([0.763, 0.928], (2, 1)),
        np.tile([2.8e-5, 4.8e-4], (2, 1)),
        np.full(2, 10.0),
        np.array(["", ""]),
    )
    curve = curve_of(table, Belief(table.score, table.cost_usd))
    drawing = draw(find(measured(table, curve, np.ones((2, 2)))), WIDE)
    dollars = [drawing.x.value(point.x) for point in drawing.lines["mix"]]
    drawn = [drawing.y.value(point.y) for point in drawing.lines["mix"]]
    assert float(np.interp(0.151, dollars, drawn)) == pytest.approx(80.8, abs=0.1)


@pytest.mark.parametrize("n_models", [2, 8, 25, 60])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_no_name_covers_another_or_leaves_the_frame(n_models: int, size: Size) -> None:
    drawing = draw(world(n_models), size)
    boxes = [label.box for label in drawing.labels]
    assert all(drawing.frame.holds(box) for box in boxes)
    for k, box in enumerate(boxes):
        assert not any(box.meets(other) for other in boxes[k + 1 :])
        of = drawing.labels[k].of
        assert not any(box.has(dot.at) for dot in drawing.dots if dot.at != of)
    assert len(boxes) + drawing.unnamed == n_models
    if n_models == 2 or (n_models, size) == (8, WIDE):
        assert drawing.unnamed == 0


def test_names_that_have_no_room_are_left_out_rather_than_drawn_over() -> None:
    points = [Point(50.0, 50.0 + k / 10) for k in range(40)]
    placed = place(points, ["a name of some length"] * 40, Box(0, 0, 300, 100), 12.0)
    kept = [label.box for label in placed if label is not None]
    assert 0 < len(kept) < 40
    assert not any(a.meets(b) for k, a in enumerate(kept) for b in kept[k + 1 :])


def test_wide_scripts_are_wide() -> None:
    assert width_of("模型", 10) >= 20


def test_free_models_have_a_place_on_the_axis() -> None:
    axis = cost_axis([0.0, 0.1, 10.0], 0.0, 100.0)
    assert axis.log
    assert 0 <= axis.pixel(0.0) < axis.pixel(0.1) < axis.pixel(10.0) <= 100
    assert not cost_axis([0.0, 0.0], 0.0, 100.0).log


class Seen(HTMLParser):
    """The text and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags, self.style = "", [], False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.style = tag == "style"

    def handle_data(self, data: str) -> None:
        self.text += "" if self.style else data


def test_the_page_says_all_and_in_plain_words() -> None:
    found = world(6)
    seen = Seen()
    seen.feed(page(found, "What routing would save", ["A note."]))
    for wanted in (found.baseline.model, "per 1,000 requests", "What is not settled", "maths",
                   "800 ms", "A note.", "Setting"):  # fmt: skip
        assert wanted in seen.text
    for word in JARGON:
        assert re.search(rf"\b{word}", seen.text, re.IGNORECASE) is None, word


def test_names_are_text_and_nothing_is_fetched() -> None:
    found = world(3, name="<script>alert({})</script>")
    html = page(found, "<b>", ["<i>"])
    seen = Seen()
    seen.feed(html)
    names = {tag for tag, _ in seen.tags}
    assert not names & {"script", "b", "img", "link", "iframe"}
    assert not any(key in ("src", "href") for _, attrs in seen.tags for key in attrs)
    assert "default-src 'none'" in html


@pytest.mark.slow
def test_the_picture_for_slides(tmp_path: Path) -> None:
    draw_png(world(30), tmp_path / "plane.png")
    assert (tmp_path / "plane.png").read_bytes().startswith(b"\x89PNG")


_MEASURE = """
(kind) => {
  const svg = document.querySelector(`svg.${kind}`);
  const frame = svg.getBoundingClientRect();
  const ends = (r) => [r.left, r.top, r.right, r.bottom];
  const texts = [...svg.querySelectorAll("text")].map((text) => ends(text.getBoundingClientRect()));
  const width = document.documentElement.scrollWidth;
  return {frame: ends(frame), shown: frame.width > 0, texts, width};
}
"""


@pytest.mark.slow
def test_a_browser_shows_names_apart_and_no_sideways_scroll(tmp_path: Path) -> None:
    write_page(world(25), tmp_path / "report.html", "Report", [])
    with chromium() as browser:
        for kind, width in (("wide", 1280), ("narrow", 390)):
            shown = browser.new_page(viewport={"width": width, "height": 800})
            shown.goto((tmp_path / "report.html").as_uri())
            seen = shown.evaluate(_MEASURE, kind)
            assert seen["shown"]
            assert seen["width"] <= width
            left, top, right, bottom = seen["frame"]
            boxes = [Box(*box) for box in seen["texts"]]
            assert len(boxes) > 15
            assert all(Box(left - 1, top - 1, right + 1, bottom + 1).holds(box) for box in boxes)
            inner = [Box(b.x0 + 1, b.y0 + 2, b.x1 - 1, b.y1 - 2) for b in boxes]
            assert not any(a.meets(b) for k, a in enumerate(inner) for b in inner[k + 1 :])


@pytest.mark.slow
def test_a_browser_shows_it_dark(tmp_path: Path) -> None:
    write_page(world(4), tmp_path / "report.html", "Report", [])
    with chromium() as browser:
        page_ = browser.new_context(color_scheme="dark").new_page()
        page_.goto((tmp_path / "report.html").as_uri())
        colour = page_.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", colour)[:3])) < 60
