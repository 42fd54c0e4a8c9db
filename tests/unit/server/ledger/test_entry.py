"""An entry is settled once, at what the provider reports, or else at an estimate marked as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from router.catalog import ModelCard, Prices
from router.cost import RequestShape
from server.config.settings.unknown_cost import UnknownCost
from server.ledger.attempt import Attempt, CostSource, Outcome, pico, usd
from server.ledger.billing import Known
from server.ledger.entry import Entry
from server.ledger.meter import metered
from server.upstream.base import UpstreamStream
from server.upstream.errors import (
    Progress,
    Stage,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamStreamBrokenError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from server.wire.sse import SseEvent
from server.wire.surface import Surface

PRICES = Prices(input_usd_per_mtok=Decimal(5), output_usd_per_mtok=Decimal(15))
CARD = ModelCard(
    name="dear", provider="main", upstream_model="up", leaderboard_name="dear", prices=PRICES
)
SHAPE = RequestShape(input_tokens=10, input_tokens_upper_bound=40)
EXPECTED, WORST = Decimal("0.001"), Decimal("0.02")
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class Settled:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def settled(self, entry: Entry) -> None:
        self.entries.append(entry)


def entry(
    policy: UnknownCost = UnknownCost.EXPECTED, card: ModelCard = CARD
) -> tuple[Entry, Settled]:
    row = Attempt(
        request_id="req_1",
        attempt=1,
        key_name="team",
        model="dear",
        provider="main",
        upstream_model="up",
        routed=True,
        streamed=False,
        started_at=0.0,
        reserved_pico=pico(WORST),
        expected_pico=pico(EXPECTED),
        budget_pico=None,
        budget_mode=None,
    )
    known = Known(card=card, shape=SHAPE, expected_usd=EXPECTED, reserved_usd=WORST)
    sink = Settled()
    return Entry(row, known, output_cap=None, policy=policy, to=sink), sink


def delta(text: str) -> dict[str, Any]:
    return {"id": "chatcmpl-7", "choices": [{"index": 0, "delta": {"content": text}}]}


async def stream_of(*chunks: dict[str, Any] | UpstreamError) -> UpstreamStream:
    async def events() -> AsyncGenerator[SseEvent, None]:
        for chunk in chunks:
            if isinstance(chunk, UpstreamError):
                raise chunk
            yield SseEvent(b"{}", parsed=chunk)

    return await UpstreamStream.start(events())


def test_reported_usage_is_billed_exactly_and_once() -> None:
    one, sink = entry()
    one.answer({"id": "chatcmpl-7", "choices": [], "usage": USAGE})
    one.settle(Outcome.CANCELLED)
    one.fail(UpstreamTimeoutError("late"))
    assert sink.entries == [one]
    assert one.row.outcome is Outcome.ANSWERED
    assert one.row.cost_source is CostSource.USAGE
    assert one.cost_usd == (Decimal(500) + Decimal(300)) / 10**6
    assert usd(one.row.cost_pico or 0) == one.cost_usd
    assert one.row.upstream_id == "chatcmpl-7"


@pytest.mark.parametrize(
    "counts", [{}, {"prompt_tokens": None}, {"prompt_tokens": "5"}, {"prompt_tokens": 0}]
)
def test_a_prompt_whose_tokens_are_not_reported_is_estimated(counts: dict[str, Any]) -> None:
    one, _ = entry()
    one.answer({"choices": [], "usage": counts | {"completion_tokens": 20}})
    assert one.row.cost_source is CostSource.ESTIMATE
    assert one.cost_usd == (Decimal(10) * 5 + Decimal(20) * 15) / 10**6


@pytest.mark.parametrize(("upstream", "output"), [("google/Gemini-3.8-flash", 320), ("up", 20)])
def test_the_total_counts_thoughts_of_googles_models_alone(upstream: str, output: int) -> None:
    one, _ = entry(card=replace(CARD, upstream_model=upstream))
    one.answer({"choices": [], "usage": USAGE | {"total_tokens": 420}})
    assert one.row.cost_source is CostSource.USAGE
    assert one.cost_usd == (Decimal(100) * 5 + Decimal(output) * 15) / 10**6


def test_an_answer_without_usage_is_estimated_and_says_so() -> None:
    one, _ = entry()
    one.answer({"choices": [{"message": {"role": "assistant", "content": "x" * 40}}]})
    assert one.row.cost_source is CostSource.ESTIMATE
    assert one.cost_usd == (Decimal(10) * 5 + Decimal(10) * 15) / 10**6


@pytest.mark.parametrize(
    ("error", "policy", "cost", "source"),
    [
        (UpstreamRateLimitedError("no", status=429), "expected", Decimal(0), CostSource.NONE),
        (UpstreamUnavailableError("no", status=500), "worst", Decimal(0), CostSource.NONE),
        (UpstreamUnavailableError("no", status=200), "worst", WORST, CostSource.ESTIMATE),
        (UpstreamTimeoutError("late"), "expected", EXPECTED, CostSource.ESTIMATE),
        (UpstreamTimeoutError("late"), "worst", WORST, CostSource.ESTIMATE),
        (UpstreamTimeoutError("late"), "zero", Decimal(0), CostSource.ESTIMATE),
    ],
)
def test_failures_are_billed_by_policy(
    error: UpstreamError, policy: str, cost: Decimal, source: CostSource
) -> None:
    one, _ = entry(UnknownCost(policy))
    one.fail(error)
    assert (one.cost_usd, one.row.cost_source) == (cost, source)


async def test_a_stream_is_settled_before_its_end_is_seen() -> None:
    one, sink = entry()
    stream = metered(await stream_of(delta("a"), {"choices": [], "usage": USAGE}), one)
    seen = [event async for event in stream]
    assert len(seen) == 2
    assert sink.entries == [one]
    assert one.row.cost_source is CostSource.USAGE


async def test_a_stream_that_is_given_up_is_billed_for_what_was_seen() -> None:
    one, _ = entry()
    stream = metered(await stream_of(delta("a"), delta("b"), delta("c")), one)
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    assert one.row.outcome is Outcome.CANCELLED
    assert one.cost_usd == (Decimal(10) * 5 + Decimal(2) * 15) / 10**6


async def test_a_broken_stream_keeps_the_usage_it_had_reported() -> None:
    one, _ = entry()
    chunk = delta("a") | {"usage": USAGE}
    broken = UpstreamStreamBrokenError("cut")
    stream = metered(await stream_of(chunk, broken), one)
    with pytest.raises(UpstreamStreamBrokenError):
        [event async for event in stream]
    assert one.row.outcome is Outcome.BROKEN
    assert one.row.cost_source is CostSource.USAGE


def test_picodollars_round_up_and_come_back_exactly() -> None:
    assert usd(pico(Decimal("0.0000000375"))) == Decimal("0.0000000375")
    assert pico(Decimal("1e-13")) == 1
    assert pico(Decimal(10) ** 30) == 2**62


TEXT = "word " * 40
CUT_OFF: dict[Surface, list[dict[str, Any]]] = {
    Surface.MESSAGES: [
        {"type": "message_start",
         "message": {"id": "m", "usage": {"input_tokens": 100, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": TEXT}},
    ],
    Surface.RESPONSES: [
        {"type": "response.created", "response": {"id": "r", "usage": None}},
        {"type": "response.output_text.delta", "delta": TEXT},
    ],
    Surface.CHAT: [delta(TEXT)],
}  # fmt: skip


@pytest.mark.parametrize("surface", CUT_OFF)
@pytest.mark.parametrize("how", ["cancelled", "broken"])
def test_what_was_cut_off_is_paid_at_what_it_told_and_delivered(surface: Surface, how: str) -> None:
    open_entry, _ = entry()
    open_entry.surface = surface
    for event in CUT_OFF[surface]:
        open_entry.see(event)
    if how == "cancelled":
        open_entry.settle(Outcome.CANCELLED)
    else:
        open_entry.fail(UpstreamStreamBrokenError("cut", status=200))
    usage = open_entry.row.usage
    assert usage is not None
    assert usage.completion_tokens == len(TEXT) // 4
    # Anthropic tells at the beginning what it has read; elsewhere our own count stands in
    assert usage.prompt_tokens == (100 if surface is Surface.MESSAGES else 10)
    assert open_entry.row.cost_source is CostSource.ESTIMATE


def test_the_end_of_an_answer_says_more_surely_than_its_pieces() -> None:
    open_entry, _ = entry()
    open_entry.see(delta(TEXT))
    open_entry.see({"choices": [], "usage": USAGE})
    open_entry.settle(Outcome.ANSWERED)
    assert open_entry.row.usage is not None
    assert open_entry.row.usage.completion_tokens == USAGE["completion_tokens"]


BEGUN = {
    "type": "message_start",
    "message": {"id": "msg_1", "usage": {"input_tokens": 10, "output_tokens": 1}},
}


@pytest.mark.parametrize(
    ("outcome", "thinks", "text", "at_least"),
    [
        (Outcome.TIMED_OUT, False, "", EXPECTED),
        (Outcome.CANCELLED, True, "a few words", EXPECTED),
        (Outcome.BROKEN, False, "a few words", Decimal("0.000095")),
    ],
)
def test_a_beginning_is_not_what_a_silent_answer_cost(
    outcome: Outcome, thinks: bool, text: str, at_least: Decimal
) -> None:
    one, _ = entry()
    one.surface, one.progress = Surface.MESSAGES, Progress()
    one.progress.stage, one.progress.thinks = Stage.SENT, thinks
    one.see(BEGUN)
    if text:
        one.see({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})
    one.settle(outcome)
    assert one.cost_usd == at_least
    assert one.row.cost_source is CostSource.ESTIMATE


def test_thoughts_that_were_seen_are_billed_as_seen() -> None:
    one, _ = entry()
    one.progress = Progress()
    one.progress.stage, one.progress.thinks = Stage.SENT, True
    for said in ({"reasoning_content": "hm"}, {"content": "a"}):
        one.see({"id": "c", "choices": [{"index": 0, "delta": said}]})
    one.settle(Outcome.CANCELLED)
    assert one.cost_usd == (Decimal(10) * 5 + Decimal(2) * 15) / 10**6


CHAT_CALL = {"tool_calls": [{"index": 0, "id": "call_1"}, {"index": 1, "id": "call_2"}]}
ITEMS: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1"},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1"},
    {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2"},
]
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "call_1"},
    {"type": "server_tool_use", "id": "srvtoolu_1"},
    {"type": "tool_use", "id": "call_2"},
]


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": {"role": "assistant", "content": None, **CHAT_CALL}}]},
        {"output": ITEMS},
        {"content": BLOCKS},
        {"output": [{"type": "local_shell_call", "id": "call_1"}, ITEMS[2]]},
    ],
)
def test_the_calls_of_a_whole_answer_are_told(answer: dict[str, Any]) -> None:
    one, _ = entry()
    told: list[str] = []
    one.on_call = told.append
    one.answer(answer)
    assert told == ["call_1", "call_2"]


@pytest.mark.parametrize(
    "events",
    [
        [{"choices": [{"index": 0, "delta": CHAT_CALL}]}, delta("x")],
        [{"type": "response.output_item.added", "item": item} for item in ITEMS],
        [{"type": "content_block_start", "content_block": block} for block in BLOCKS],
    ],
)
def test_the_calls_of_a_stream_are_told_as_they_come(events: list[dict[str, Any]]) -> None:
    one, _ = entry()
    told: list[str] = []
    one.on_call = told.append
    for event in events:
        one.see(event)
    assert told == ["call_1", "call_2"]
    assert one.is_open, "a caller may answer a call before the stream is at its end"
    for event in events:
        entry()[0].see(event)  # nobody wants to know


@pytest.mark.parametrize(
    ("chunks", "reasons"),
    [
        ([delta("a"), {"choices": [{"delta": {}, "finish_reason": "stop"}]}], ("stop",)),
        (
            # the last piece of text and its end in one chunk, for two choices
            [
                {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]},
                {"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}]},
                {"choices": [], "usage": USAGE},
            ],
            ("stop", "length"),
        ),
        (
            [
                {"type": "message_start", "message": {"id": "msg_1", "stop_reason": None}},
                {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": USAGE},
                {"type": "message_stop"},
            ],
            ("tool_use",),
        ),
        (
            [
                {"type": "response.created", "response": {"status": "in_progress"}},
                {"type": "response.completed", "response": {"id": "r", "status": "completed"}},
            ],
            ("completed",),
        ),
        (
            [
                {
                    "type": "response.incomplete",
                    "response": {
                        "status": "incomplete",
                        "incomplete_details": {"reason": "max_output_tokens"},
                    },
                },
            ],
            ("max_output_tokens",),
        ),
    ],
)
async def test_a_stream_says_why_each_choice_ended(
    chunks: list[dict[str, Any]], reasons: tuple[str, ...]
) -> None:
    one, _ = entry()
    stream = metered(await stream_of(*chunks), one)
    assert len([event async for event in stream]) == len(chunks)
    assert one.row.finish_reasons == reasons


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ({"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]}, ("length",)),
        ({"type": "message", "content": [], "stop_reason": "end_turn"}, ("end_turn",)),
        ({"object": "response", "status": "completed", "output": []}, ("completed",)),
        ({"choices": [{"message": {"content": "a"}, "finish_reason": 7}]}, ()),
    ],
)
def test_a_whole_answer_says_why_it_ended(body: dict[str, Any], reasons: tuple[str, ...]) -> None:
    one, _ = entry()
    one.answer(body)
    assert one.row.finish_reasons == reasons


@pytest.mark.parametrize("odd", [None, "100", [100], {}, True, -1, 0, 1e308, 2**52])
@pytest.mark.parametrize(
    ("name", "charged"),
    [
        ("prompt_tokens", 10 * 5 + 20 * 15),
        ("completion_tokens", 100 * 5 + 3 * 15),
    ],
)
def test_a_count_that_is_none_is_estimated(name: str, charged: int, odd: object) -> None:
    one, _ = entry()
    choice = {"message": {"content": "twelve bytes"}, "finish_reason": "stop"}
    one.answer({"choices": [choice], "usage": {**USAGE, name: odd}})
    assert one.row.cost_source is CostSource.ESTIMATE
    assert one.row.cost_pico == pico(Decimal(charged) / 10**6)


def test_an_answer_that_cannot_be_read_is_settled_all_the_same() -> None:
    one, sink = entry()

    def fails(_: str) -> None:
        raise RuntimeError

    one.on_call = fails
    with pytest.raises(RuntimeError):
        one.answer({"content": [{"type": "tool_use", "id": "toolu_1"}], "usage": USAGE})
    assert sink.entries == [one]
    assert one.row.outcome is Outcome.ANSWERED
