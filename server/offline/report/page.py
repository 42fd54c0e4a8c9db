"""The report as one HTML file: no scripts, nothing from elsewhere, light and dark, any width."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Final

from p2l_model.errors import DataError
from server.offline.report import words
from server.offline.report.findings import Findings, Kind, Offer, Standing
from server.offline.report.plane import NARROW, WIDE, draw
from server.offline.report.svg import svg
from server.offline.simulate.curves import Interval

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_MOST_SHARES: Final = 4
_SMALL: Final = 0.005


def write_page(found: Findings, path: Path, title: str, notes: Sequence[str] = ()) -> None:
    """Writes the page. Raises DataError where the file cannot be written."""
    try:
        path.write_text(page(found, title, notes), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error


def page(found: Findings, title: str, notes: Sequence[str] = ()) -> str:
    """The page. Everything that names a model, a kind or a file is escaped. notes: how it was
    measured, sentence by sentence."""
    css = (files("server.offline.report") / "report.css").read_text(encoding="utf-8")
    return "\n".join((
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{css}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="headline">{escape(words.headline(found))}</p>',
        *(f"<p>{escape(sentence)}</p>" for sentence in words.explanation(found)),
        *_picture(found),
        *_leaderboard(found),
        *_offers(found),
        *_kinds(found),
        *_open_questions(found),
        *_method(found, notes),
        "</main></body></html>\n",
    ))  # fmt: skip


def _picture(found: Findings) -> Iterator[str]:
    said = "Quality against cost: " + words.headline(found)
    wide = draw(found, WIDE)
    yield "<h2>Cost and quality</h2><figure>"
    yield svg(wide, said, "wide")
    yield svg(draw(found, NARROW), said, "narrow")
    yield '<figcaption class="legend"><span><i class="key"></i>the router, at each setting</span>'
    yield '<span><i class="key mix"></i>the best mix of models without reading the prompt</span>'
    if found.mix is not None:
        yield '<span><i class="key offer"></i>the router, as in the sentence above</span>'
    if wide.unnamed > 0:
        yield f"<span>{wide.unnamed} models have no room for their names: see the table</span>"
    yield "</figcaption></figure>"


def _leaderboard(found: Findings) -> Iterator[str]:
    timed = any(one.latency_s is not None for one in found.standings)
    heads = ["Model", "Quality, of 100", "USD per 1,000 requests"]
    heads += ["Seconds"] if timed else []
    heads += ["Router at 99% of it", "Saved"]
    rows = [_standing(one, found, timed=timed) for one in found.standings]
    yield "<h2>The models</h2>"
    yield from _table(
        f"Each model alone on these {found.measured.n_prompts:,} prompts, and what the router pays "
        "for 99% of its quality. In brackets: where 95% of other samples of such prompts would be.",
        heads,
        rows,
        "figures",
    )


def _standing(one: Standing, found: Findings, *, timed: bool) -> str:
    kind = ' class="baseline"' if one.model == found.baseline.model else ""
    cells = [
        _cell(words.points(_value(one.score)), words.points_range(one.score)),
        _cell(words.usd(_value(one.usd)), words.usd_range(one.usd)),
    ]
    cells += [_cell(words.seconds(one.latency_s))] if timed else []
    cells += [
        _cell(words.usd(one.router_usd)),
        _cell(words.percent(_value(one.saved)), words.percent_range(one.saved)),
    ]
    answers = f"<small>{one.answers:,} answers</small>"
    name = f'<th scope="row">{one.rank}. {escape(one.model)}{answers}</th>'
    return f"<tr{kind}>{name}{''.join(cells)}</tr>"


def _offers(found: Findings) -> Iterator[str]:
    model = found.baseline.model
    heads = ["Share of its quality", "Quality", "USD per 1,000", "Saved"]
    is_set = any(one.usd_per_win is not None for one in found.offers)
    heads += ["Setting"] if is_set else []
    setting = " The setting is routing.usd_per_win in the configuration." if is_set else ""
    yield "<h2>What a quality costs</h2>"
    yield from _table(
        f"Against always asking {model}.{setting}",
        heads,
        [_offer(one, is_set=is_set) for one in found.offers],
        "figures",
    )


def _offer(one: Offer, *, is_set: bool) -> str:
    worth = words.NONE if one.usd_per_win is None else f"{one.usd_per_win:.3g}"
    cells = [
        _cell(words.points(one.score)),
        _cell(words.usd(_value(one.usd)), words.usd_range(one.usd)),
        _cell(words.percent(_value(one.saved)), words.percent_range(one.saved)),
        *([_cell(worth)] if is_set else []),
    ]
    return f'<tr><th scope="row">{one.level:.0%}</th>{"".join(cells)}</tr>'


def _kinds(found: Findings) -> Iterator[str]:
    yield "<h2>Which prompts go where</h2>"
    if not found.kinds:
        model = escape(found.baseline.model)
        yield f"<p>All of them to {model}: no mix reaches 99% of its quality for less.</p>"
        return
    rows = [_kind(one) for one in found.kinds]
    caption = "The share of each kind of prompt that each model gets, at 99% of the quality."
    yield from _table(caption, ["Kind of prompt", "Goes to"], rows, "kinds")


def _kind(one: Kind) -> str:
    shown = [pair for pair in one.shares[:_MOST_SHARES] if pair[1] >= _SMALL]
    rest = 1.0 - sum(share for _, share in shown)
    items = [f"<li>{share:.0%} {escape(model)}</li>" for model, share in shown]
    items += [f"<li>{rest:.0%} others</li>"] if rest >= _SMALL else []
    name = f"{escape(one.name)}<small>{one.n_prompts:,} prompts</small>"
    return f'<tr><th scope="row">{name}</th><td><ul class="share">{"".join(items)}</ul></td></tr>'


def _open_questions(found: Findings) -> Iterator[str]:
    yield "<h2>What is not settled</h2>"
    said = words.open_questions(found)
    yield "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in said) + "</ul>"


def _method(found: Findings, notes: Iterable[str]) -> Iterator[str]:
    yield "<h2>How this was measured</h2>"
    yield f'<ul class="quiet"><li>{found.measured.n_prompts:,} prompts, each answered by '
    yield f"{len(found.standings)} models and graded; quality is the mean grade.</li>"
    yield "<li>The router's settings were compared on these same prompts.</li>"
    yield "".join(f"<li>{escape(said)}</li>" for said in words.caution(found))
    yield "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"


def _table(
    caption: str, heads: Sequence[str], rows: Iterable[str], kind: str = ""
) -> Iterator[str]:
    yield f'<table class="{kind}"><caption>{escape(caption)}</caption><thead><tr>'
    yield "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    yield "</tr></thead><tbody>"
    yield from rows
    yield "</tbody></table>"


def _cell(text: str, below: str = "") -> str:
    return f"<td>{escape(text)}{f'<small>{escape(below)}</small>' if below else ''}</td>"


def _value(one: Interval) -> float:
    return 0.0 if one.value is None else one.value
