"""Whatever a provider says of how long to wait, the wait is a number that can be told."""

from __future__ import annotations

import pytest

from server.upstream.errors import parse_retry_after_s

DAY_S = 86_400.0
ODD = (
    *("", "x", "nan", "inf", "1e400", "5,6", "0x10", "\x00", "[1]", "{}", ",", "(", ":"),
    "Mon, (((", "Wed, 21 Oct 2015 99:99:99 GMT", "Wed, 21 Oct 99999 07:28:00 GMT",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 1 Jan 2024 00:00:00 +99999999999999999999",
)  # fmt: skip
FAR = ("1e308", "9" * 400, "Wed, 21 Oct 9999 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359")


@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms"])
@pytest.mark.parametrize("value", ODD)
def test_what_is_no_time_is_none(name: str, value: str) -> None:
    assert parse_retry_after_s({name: value}, 1e9) is None


@pytest.mark.parametrize("value", [*FAR, "100000"])
def test_a_wait_is_a_day_at_most(value: str) -> None:
    waited = parse_retry_after_s({"retry-after": value}, 1e9)
    assert waited == (None if value.startswith("999") else DAY_S)


def test_milliseconds_come_first_and_nobody_waits_for_less_than_nothing() -> None:
    assert parse_retry_after_s({"retry-after-ms": "1500", "retry-after": "9"}, 1e9) == 1.5
    assert parse_retry_after_s({"retry-after-ms": "x", "retry-after": "9"}, 1e9) == 9.0
    assert parse_retry_after_s({"retry-after": "-5"}, 1e9) == 0.0
    assert parse_retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1e9) == 0.0
