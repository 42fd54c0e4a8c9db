from __future__ import annotations

from job_lines import BOARD, job, line

from server.offline.jobs.turns import Conversations
from server.sessions.results import results_at_end


def test_a_conversation_grows_and_keeps_its_leaderboard() -> None:
    talks = Conversations()
    turns = [talks.turn(one) for one in job(1, 3)]
    assert [turn.number for turn in turns] == [0, 1, 2]
    assert [turn.prefix_tokens for turn in turns] == [0, 2_000, 3_000]
    assert [turn.now_s for turn in turns] == [1_000, 1_005, 1_010]
    assert turns[2].board is turns[0].board
    assert turns[2].board is not None
    assert turns[2].board.models == tuple(BOARD.coefficients)
    first, _, last = (turn.request.messages for turn in turns)
    assert last[: len(first)] == first
    assert turns[2].request.counted().further == 4_000


def test_messages_show_the_tool_loop_to_the_gateway() -> None:
    talks = Conversations()
    turns = [talks.turn(one) for one in job(1, 2)]
    assert results_at_end(turns[0].request.messages) is None
    found = results_at_end(turns[1].request.messages)
    assert found is not None
    assert found.calls == (turns[0].next_call,)
    assert not found.has_words
    both = talks.turn(line(session=f"{1:032x}", tool_loop=True, input_tokens=9_000))
    found = results_at_end(both.request.messages)
    assert found is not None
    assert found.has_words


def test_branches_and_sessions_are_conversations_of_their_own() -> None:
    talks = Conversations()
    places = [talks.turn(line(branch=branch)).place for branch in (0, 1)]
    other = talks.turn(line(session="ef" * 16, branch=1))
    assert len({*places, other.place}) == 3
    assert other.prefix_tokens == 0


def test_a_shortened_conversation_begins_anew() -> None:
    talks = Conversations()
    talks.turn(line(input_tokens=100_000))
    again = talks.turn(line(input_tokens=99_000))
    assert (again.is_anew, again.prefix_tokens) == (False, 99_000)
    shortened = talks.turn(line(input_tokens=20_000, tool_loop=True, new_words=False))
    assert (shortened.is_anew, shortened.prefix_tokens) == (True, 0)
    assert len(shortened.request.messages) == 3


def test_only_a_request_with_a_leaderboard_is_routed() -> None:
    talks = Conversations()
    assert not talks.turn(line()).is_routed
    assert talks.turn(line(leaderboard=BOARD)).is_routed
    assert not talks.turn(line(routed=False)).is_routed
