"""Which models a catalogue has that nobody wrote, and in which order."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from p2l_model.placement.place import bundled_placer
from server.catalogue.strongest import Sold, strongest

TODAY = date(2026, 11, 29)


def sold(name: str, price: str | None = "1", *, is_anothers: bool = False) -> Sold:
    usd = None if price is None else (Decimal(price), Decimal(price))
    return Sold(name, usd, None, is_anothers)


def chosen(models: list[Sold], n: int, today: date = TODAY) -> list[str]:
    return [models[at].name for at in strongest(models, n, today)]


def test_the_strongest_comes_first() -> None:
    models = [sold("gpt-4o-2024-08-06"), sold("gpt-5.4"), sold("gpt-3.5-turbo"), sold("gpt-5.2")]
    found = chosen(models, 4)
    assert found == ["gpt-5.4", "gpt-5.2", "gpt-4o-2024-08-06", "gpt-3.5-turbo"]
    strengths = [bundled_placer().place(name).mean for name in found]
    assert strengths == sorted(strengths, reverse=True)


def test_the_newest_of_a_line_has_a_place_before_older_and_stronger_ones() -> None:
    models = [sold("claude-opus-4-7"), sold("claude-opus-4-8"), sold("claude-opus-5-5"),
              sold("claude-haiku-5-5"), sold("claude-haiku-4-5")]  # fmt: skip
    assert chosen(models, 2) == ["claude-opus-5-5", "claude-haiku-5-5"]
    assert chosen(models, 3) == ["claude-opus-4-8", "claude-opus-5-5", "claude-haiku-5-5"]


def test_a_line_that_ended_does_not_count_as_new() -> None:
    models = [sold("glm-5.3"), sold("glm-4-32b-0414-128k"), sold("glm-5.2"), sold("glm-5.1")]
    assert chosen(models, 3) == ["glm-5.2", "glm-5.1", "glm-5.3"]


def test_a_vendors_own_models_come_first() -> None:
    models = [sold("deepseek-v4-pro", is_anothers=True), sold("qwen-turbo"), sold("qwen3.7-plus")]
    assert chosen(models, 3) == ["qwen3.7-plus", "qwen-turbo", "deepseek-v4-pro"]


def test_equal_places_go_by_price_then_by_the_shorter_name() -> None:
    models = [sold("nobody-x", "1"), sold("nobody-x-preview", "1"), sold("nobody-x-chat", "2")]
    places = {bundled_placer().place(one.name, price=(1.0, 1.0)).mean for one in models}
    assert len(places) == 1
    models = [one._replace(usd_per_mtok=None) for one in models]
    assert chosen(models, 3) == ["nobody-x", "nobody-x-chat", "nobody-x-preview"]


def test_a_model_without_a_price_has_a_place() -> None:
    models = [sold("free-model", "0"), sold("unpriced-model", None)]
    assert set(chosen(models, 2)) == {"free-model", "unpriced-model"}
    assert chosen(models, 0) == []
