"""Which answer a request joins, for how long, and how much of it is held."""

from __future__ import annotations

import asyncio

import pytest

from server.errors import InvalidRequestError
from server.http.answers import Answers, Asked, Bounds
from server.http.recording import Recording


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answers(clock: Clock) -> Answers:
    return Answers(clock, Bounds(answers=3, bytes=10_000, bytes_each=5_000))


def answered(answers: Answers, asked: Asked, body: bytes = b"{}", status: int = 200) -> Recording:
    recording = answers.begin(asked)
    recording.begin(status, [])
    recording.add(body)
    recording.complete()
    answers.end(recording, is_good=status < 400)
    return recording


FIRST = Asked(b"body", b"key", b"meaning")
PLAIN = Asked(b"body")
RETRY = Asked(b"body", is_retry=True)


def test_the_same_key_and_body_join(answers: Answers) -> None:
    first = answers.begin(FIRST)
    assert answers.find(FIRST) is first
    answers.end(first, is_good=False)
    kept = answered(answers, FIRST)
    assert answers.find(FIRST) is kept


def test_a_retry_joins_by_its_body_and_a_first_request_does_not(answers: Answers) -> None:
    first = answers.begin(PLAIN)
    assert answers.find(RETRY) is first
    assert answers.find(PLAIN) is None
    assert answers.find(Asked(b"other", is_retry=True)) is None


def test_two_keys_are_two_requests_whatever_the_client_counts(answers: Answers) -> None:
    answers.begin(FIRST)
    assert answers.find(Asked(b"body", b"another", is_retry=True)) is None
    plain = answers.begin(PLAIN)
    answers.begin(FIRST)
    assert answers.find(Asked(b"body", b"another", is_retry=True)) is plain


def test_a_key_with_another_body_is_refused_while_it_is_remembered(
    answers: Answers, clock: Clock
) -> None:
    answered(answers, FIRST)
    assert answers.find(Asked(b"other", b"key", b"meaning")) is not None
    with pytest.raises(InvalidRequestError, match="Idempotency-Key") as refused:
        answers.find(Asked(b"body", b"key", b"other", is_retry=True))
    assert refused.value.status == 400
    clock.now_s += 120.0
    assert answers.find(Asked(b"other", b"key")) is None


@pytest.mark.parametrize("asked", [FIRST, RETRY])
def test_two_minutes_from_its_end(answers: Answers, clock: Clock, asked: Asked) -> None:
    first = answers.begin(FIRST)
    clock.now_s += 3_600.0
    first.begin(200, [])
    first.complete()
    answers.end(first, is_good=True)
    clock.now_s += 119.9
    assert answers.find(asked) is first
    clock.now_s += 0.1
    assert answers.find(asked) is None
    assert (len(answers), answers.size) == (0, 0)


def test_nothing_is_held_when_nothing_comes_any_more(answers: Answers, clock: Clock) -> None:
    answered(answers, FIRST)
    under_way = answers.begin(Asked(b"other"))
    clock.now_s += 120.0
    answers.sweep()
    assert len(answers) == 1
    assert answers.find(Asked(b"other", is_retry=True)) is under_way


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_an_error_is_shared_under_way_and_not_later(answers: Answers, status: int) -> None:
    first = answers.begin(FIRST)
    first.begin(status, [])
    first.complete()
    assert answers.find(FIRST) is first
    answers.end(first, is_good=False)
    assert answers.find(FIRST) is None
    assert (len(answers), answers.size) == (0, 0)


def test_an_answer_that_broke_off_is_not_kept(answers: Answers) -> None:
    first = answers.begin(FIRST)
    first.begin(200, [])
    first.add(b"half")
    answers.end(first, is_good=True)
    assert first.is_broken
    assert answers.find(FIRST) is None


def test_what_was_not_used_for_longest_goes_first(answers: Answers) -> None:
    asked = [Asked(b"%d" % number, is_retry=True) for number in range(4)]
    kept = [answered(answers, one) for one in asked[:3]]
    assert answers.find(asked[0]) is kept[0]
    answered(answers, asked[3])
    assert [answers.find(one) is not None for one in asked] == [True, False, True, True]


def test_bytes_are_bounded_together_and_each(answers: Answers) -> None:
    large = Asked(b"large", b"key")
    answered(answers, large, b"x" * 5_000)
    assert answers.find(large) is None
    for number in range(3):
        answered(answers, Asked(b"%d" % number, is_retry=True), b"x" * 3_000)
    assert 0 < answers.size <= 10_000
    found = [answers.find(Asked(b"%d" % number, is_retry=True)) for number in range(3)]
    assert [one is not None for one in found] == [False, True, True]


@pytest.mark.slow
def test_many_answers_are_held_to_the_bounds(clock: Clock) -> None:
    answers = Answers(clock, Bounds(answers=100, bytes=200_000, bytes_each=20_000))
    for number in range(20_000):
        clock.now_s += 0.01
        body = b"x" * (number * 7919 % 25_000)
        answered(answers, Asked(b"%d" % number, b"%d" % (number % 500)), body)
        assert len(answers) <= 100
        assert answers.size <= 200_000
    clock.now_s += 120.0
    answers.sweep()
    assert (len(answers), answers.size) == (0, 0)
    assert not answers._by_body
    assert not answers._by_key


async def test_one_that_is_let_go_holds_no_more_than_its_slowest_listener_has_to_read(
    answers: Answers,
) -> None:
    first = answers.begin(FIRST)
    first.begin(200, [])
    slow, read = first.enter(), list[bytes]()

    async def listen() -> None:
        async for piece in first.pieces(slow):
            await asyncio.sleep(0)
            read.append(piece)
        first.leave(slow)

    listening = asyncio.create_task(listen())
    pieces = [b"%d" % number * 1_000 for number in range(10)]
    for piece in pieces:
        first.add(piece)
        if not first.is_open:
            await first.pace()
            assert not first._pieces
    assert not first.is_open
    first.complete()
    await listening
    assert read == pieces
    # nobody can join it any more, and nobody reads: nothing is held
    first.add(b"more")
    assert not first._pieces
