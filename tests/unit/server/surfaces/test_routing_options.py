"""Routing options from headers and body twins."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from server.endpoints.decision_json import encoded_name, plain
from server.errors import InvalidRequestError
from server.surfaces.json_body import parse_body
from server.surfaces.routing_options import parse_budget, parse_options

GOOD = {
    " 0.002 ": "0.002",
    "1e-3": "0.001",
    "0": "0",
    "1e-20": "1e-20",
    "1e-999999999": "0",
    "1e308": "1e308",
    "0." + "1" * 80: "0." + "1" * 80,
}


@pytest.mark.parametrize(("text", "value"), GOOD.items())
def test_budget_grammar(text: str, value: str) -> None:
    assert parse_budget(text, "X-Cost-Budget") == Decimal(value)


@pytest.mark.parametrize("text", ["1e309", "1e400", "1e999999999", "NaN", "Infinity", "-0", "-0.0"])
def test_a_json_number_that_is_no_budget_is_named_as_one(text: str) -> None:
    for body in (f'{{"cost": {text}}}', f'{{"p2l": {{"budget_usd": {text}}}}}'):
        with pytest.raises(InvalidRequestError) as caught:
            parse_options(Headers({}), parse_body(body.encode()))
        assert caught.value.code == "invalid_cost_budget"
        assert caught.value.param in ("cost", "p2l.budget_usd")


def test_a_seed_is_the_same_integer_in_header_and_body() -> None:
    for seed in (-1, 2**62, 2**64 - 1):
        options = parse_options(Headers({"x-route-seed": str(seed)}), {"p2l": {"seed": seed}})
        assert options.seed == seed
    for headers, body in (({"x-route-seed": str(2**64)}, {}), ({}, {"p2l": {"seed": 2**64}})):
        with pytest.raises(InvalidRequestError, match="64 bits") as caught:
            parse_options(Headers(headers), body)
        assert caught.value.param in ("X-Route-Seed", "p2l.seed")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_name_is_the_same_in_header_and_body(encoding: str) -> None:
    raw = [(b"x-route-models", "modèle".encode(encoding))]
    options = parse_options(Headers(raw=raw), {"p2l": {"models": ["modèle"]}})
    assert options.models == ("modèle",)


@given(st.text(max_size=20))
def test_any_text_is_a_budget_or_a_clean_refusal(text: str) -> None:
    with suppress(InvalidRequestError):
        budget = parse_budget(text, "X-Cost-Budget")
        assert budget.is_finite()
        assert budget >= 0


@given(st.decimals(min_value=0, max_value=10**6, allow_nan=False, allow_infinity=False, places=9))
def test_json_numbers_are_read_exactly(amount: Decimal) -> None:
    body = parse_body(b'{"p2l": {"budget_usd": ' + format(amount, "f").encode() + b"}}")
    assert parse_options(Headers({}), body).budget_usd == amount


@pytest.mark.parametrize("value", [True, [1], {}, -1, -0.5])
def test_other_json_values_are_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError):
        parse_budget(value, "p2l.budget_usd")


@given(st.floats(min_value=1e-12, max_value=1e9))
def test_header_numbers_have_no_exponent_and_lose_nothing(number: float) -> None:
    assert "e" not in plain(number).lower()
    assert float(plain(number)) == number


def test_names_in_headers_are_percent_encoded() -> None:
    assert encoded_name("a,b=c%d ü") == "a%2Cb%3Dc%25d%20%C3%BC"
    assert encoded_name("meta-llama/Llama-3@x") == "meta-llama/Llama-3@x"
