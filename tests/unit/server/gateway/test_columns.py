"""Which columns a request may use, and what a model's own name stands for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.catalog import ModelCard
from server.gateway.columns import Columns, same_models
from server.gateway.output_lengths import OutputLengths, expected_thoughts
from server.model_facts import facts_of
from server.upstream.base import Fit

PLAIN = ModelCard(
    name="plain", provider="p", upstream_model="plain", leaderboard_name="plain", prices=None
)
LOW = replace(PLAIN, name="a:low", effort="low")
HIGH = replace(PLAIN, name="a:high", effort="high", coefficient_shift=0.14)
MAX = replace(PLAIN, name="b:max", effort="max")
COLUMNS = Columns((LOW, HIGH, PLAIN, MAX))
NONE = Columns((PLAIN,))


def test_a_models_name_stands_for_its_columns() -> None:
    assert COLUMNS.expanded(["a", "plain", "b:max"]) == ["a:low", "a:high", "plain", "b:max"]
    names = frozenset({"plain", "a:low"})
    assert COLUMNS.expanded(names) is names
    assert COLUMNS.models.keys() == {"a", "b"}
    assert COLUMNS.names.keys() == {"a:low", "a:high", "plain", "b:max", "a", "b"}
    assert (COLUMNS.models["a"].name, COLUMNS.models["a"].effort) == ("a", None)
    assert [card.name for card in COLUMNS.listed()] == [
        "a", "a:low", "a:high", "plain", "b", "b:max",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("effort", "name"),
    [("none", "a:low"), ("low", "a:low"), ("medium", "a:high"), ("max", "a:high")],
)
def test_the_nearest_column_is_the_lowest_at_least_as_high(effort: str, name: str) -> None:
    for model in ("a", "a:low", "a:high"):
        found = COLUMNS.nearest(model, effort)
        assert found is not None
        assert found.name == name
    assert COLUMNS.nearest("plain", effort) is None


def test_a_pinned_effort_rules_the_others_out() -> None:
    assert COLUMNS.ruled_out("").keys() == set()
    assert COLUMNS.ruled_out("low").keys() == {"a:high"}
    assert COLUMNS.ruled_out("high").keys() == {"a:low"}
    assert "nearest to a:high" in COLUMNS.ruled_out("medium")["a:low"]
    fits = {"a:low": Fit(effort="low"), "a:high": Fit(effort="high"), "b:max": Fit(effort="max")}
    assert COLUMNS.excluded(fits, "low").keys() == {"a:high"}
    assert COLUMNS.excluded(fits, "") == {}


def test_a_column_that_cannot_be_sent_gives_way_to_the_others() -> None:
    fits = {"a:low": Fit(effort="low"), "a:high": Fit(effort="none"), "b:max": Fit()}
    assert COLUMNS.excluded(fits, "").keys() == {"a:high"}, "b has no other column"
    fits = {"a:low": Fit(effort="none"), "a:high": Fit(effort="none"), "b:max": Fit("cannot")}
    assert COLUMNS.excluded(fits, "").keys() == {"a:high"}, "the lowest stands for the model"
    # the pinned one stays, whatever is sent
    assert COLUMNS.excluded(fits, "high").keys() == {"a:low"}
    fits = {"a:low": Fit("cannot"), "a:high": Fit(effort="none")}
    assert COLUMNS.excluded(fits, "") == {}


def test_a_tool_loop_stays_with_the_model_when_the_effort_changes() -> None:
    assert COLUMNS.kept("a:low", "") == "a:low"
    assert COLUMNS.kept("a:low", "high") == "a:high"
    assert COLUMNS.kept("a", "high") == "a:high", "before the model had columns"
    assert COLUMNS.kept("plain", "high") == "plain"
    assert COLUMNS.kept(None, "high") is None


def test_a_tool_loop_stays_with_the_model_when_its_columns_change() -> None:
    # what was asked for, or answered, before the columns were configured
    assert COLUMNS.kept("a", "") == "a:high"
    assert COLUMNS.kept("b", "") == "b:max"
    # columns that were removed, or replaced by others
    assert NONE.kept("plain:high", "") == "plain"
    assert NONE.kept("plain:high", "low") == "plain"
    assert COLUMNS.kept("a:none", "") == "a:low"
    assert COLUMNS.kept("b:low", "high") == "b:max"
    # names with a colon that are no columns, and models that are gone
    assert Columns((replace(PLAIN, name="x:8b"),)).kept("x:8b", "low") == "x:8b"
    assert Columns((replace(PLAIN, name="x:low"),)).kept("x:low", "") == "x:low"
    for gone in ("x:8b", "x:low", "x", ":low"):
        assert COLUMNS.kept(gone, "") == gone
    assert COLUMNS.rest({"held": "a", "min_gain": 0.0}, "") == {"held": "a:high", "min_gain": 0.0}
    unchanged = {"held": "a:low"}
    assert COLUMNS.rest(unchanged, "") is unchanged


def test_thoughts_and_lengths_are_those_of_the_effort() -> None:
    facts = {"a": facts_of("gpt-6.1-sol"), "plain": facts_of("gpt-6.1-sol")}
    both = COLUMNS.facts(facts)
    assert both["a:high"] is facts["a"]
    found = COLUMNS.thoughts(expected_thoughts(both, "medium"), both)
    assert found == {"a": 1200.0, "plain": 1200.0, "a:low": 400.0, "a:high": 2400.0}
    lengths = OutputLengths()
    for _ in range(9):
        lengths.observe("me", "a", "high", 100, 300)
        lengths.observe("me", "plain", "medium", 100, 200)
    factors = COLUMNS.length_factors(lengths, "medium", "me")
    assert factors.keys() == {"a:high", "plain"}
    assert factors["a:high"] > factors["plain"] > 1.0


def test_a_catalogue_without_columns_is_left_as_it_is() -> None:
    facts, lengths = {"plain": facts_of("gpt-4o")}, OutputLengths()
    at = expected_thoughts(facts, "low")
    assert not NONE.exist
    assert NONE.facts(facts) is facts
    assert NONE.thoughts(at, facts) is at
    assert NONE.length_factors(lengths, "low", "me") is lengths.factors("low", "me")
    assert NONE.excluded({"plain": Fit()}, "low") == {}
    assert NONE.kept("plain", "low") == "plain"


def test_the_columns_of_a_model_fail_together() -> None:
    cards = (LOW, HIGH, PLAIN, MAX)
    assert same_models(cards, ["a:low"]) == ["a:low", "a:high"]
    assert same_models(cards, {"plain": 1, "b:max": 2}) == ["plain", "b:max"]
    assert same_models(cards, ["gone"]) == ["gone"]
