"""Which requests belong together, and what of a session is found again: the pure part."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from p2l_model.types import PreferenceFamily, PromptLeaderboard
from server.gateway.prompt_cache import PromptCaches
from server.sessions.results import results_at_end
from server.sessions.sessions import Sessions, Task, Visit

TTL_S = 100.0
Message = dict[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def called(*ids: str) -> Message:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": one, "type": "function", "function": function} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call: str, text: str = "found") -> Message:
    return {"role": "tool", "tool_call_id": call, "content": text}


def made_by(visit: Visit) -> str | None:
    return None if visit.calling is None else visit.calling.model


class Book:
    """Sessions with a clock, and with hashes as the gateway makes them."""

    def __init__(self, most: int = 1_000) -> None:
        self.sessions = Sessions(random.Random(1), most)
        self.now_s = 0.0
        self._hashes = PromptCaches()

    def visit(
        self,
        messages: Sequence[Message],
        name: str | None = None,
        caller: str = "me",
        follows: str | None = None,
    ) -> Visit:
        prefixes = self._hashes.prefixes(caller, {"messages": list(messages)}).messages
        return self.sessions.visit(
            caller, name, messages, prefixes, now_s=self.now_s, ttl_s=TTL_S, follows=follows
        )

    def ask(
        self,
        messages: Sequence[Message],
        model: str = "a",
        name: str | None = None,
        caller: str = "me",
        calls: Sequence[str] = (),
    ) -> Visit:
        """A request that is decided and answered."""
        visit = self.visit(messages, name, caller)
        self.sessions.enter(visit, self.now_s)
        self.sessions.drawn(visit, (model,))
        branch = self.sessions.answered(visit, model)
        for call in calls:
            self.sessions.called(visit, branch, call)
        return visit


def test_a_conversation_is_one_session_and_another_is_not() -> None:
    book = Book()
    first = book.ask([user("Hi")])
    assert first.is_new
    second = book.ask([user("Hi"), said("Hello"), user("More")])
    assert second.session is first.session
    third = book.ask([user("Hi"), said("Hello"), user("More"), said("Yes"), user("Go on")])
    assert (third.session, third.is_new) == (first.session, False)
    assert book.ask([user("Ho"), said("Hello"), user("More")]).is_new
    assert book.ask([user("Hi")]).is_new, "the same first words are another job"


def test_without_an_answer_in_it_a_request_opens_a_session() -> None:
    book = Book()
    book.ask([user("One")])
    assert book.ask([user("One"), user("Two")]).is_new


def test_a_name_tells_the_session_whatever_is_said() -> None:
    book = Book()
    first = book.ask([user("Hi")], name="job")
    assert book.ask([user("Other words")], name="job").session is first.session
    assert book.ask([user("Hi"), said("x"), user("y")], name="job 2").session is not first.session


@pytest.mark.parametrize("name", ["job", None])
def test_callers_never_meet(name: str | None) -> None:
    book = Book()
    first = book.ask([user("Hi")], name=name, calls=["call_1"])
    loop = [user("Hi"), called("call_1"), result("call_1")]
    other = book.visit(loop, name, caller="you")
    assert other.is_new
    assert other.session is not first.session
    assert made_by(other) is None
    assert book.visit(loop, name).session is first.session


def test_a_session_that_is_not_used_ends() -> None:
    book = Book()
    messages = [user("Hi"), said("Hello"), user("More")]
    for name in ("job", None):
        first = book.ask(messages[:1], name=name)
        book.now_s += TTL_S
        assert book.ask(messages, name=name).session is first.session
        book.now_s += TTL_S + 1
        assert book.visit(messages, name=name).is_new


def test_looking_changes_nothing() -> None:
    book = Book()
    book.visit([user("Hi")], name="job")
    assert book.visit([user("Hi")], name="job").is_new
    first = book.ask([user("Hi")], name="job")
    book.now_s = 60.0
    book.visit([user("Hi")], name="job")
    assert first.session.used_s == 0.0


def test_two_at_once_open_one_session() -> None:
    book = Book()
    one, two = book.visit([user("One")], "job"), book.visit([user("Two")], "job")
    assert one.session is not two.session
    assert not book.sessions.enter(one, 0.0)
    assert book.sessions.enter(two, 0.0)
    assert two.session is one.session
    assert not two.is_new


def test_results_go_to_the_model_that_made_the_calls() -> None:
    book = Book()
    book.ask([user("Hi")], "a", calls=["call_1", "call_2"])
    # another conversation of the same session, with the same beginning
    book.ask([user("Hi")], "b", calls=["call_3"])
    loop = [user("Hi"), called("call_1", "call_2"), result("call_1"), result("call_2")]
    assert made_by(book.visit(loop)) == "a"
    assert made_by(book.visit([user("Hi"), called("call_3"), result("call_3")])) == "b"
    shortened = [user("A summary"), called("call_1"), result("call_1")]
    assert made_by(book.visit(shortened)) == "a", "the words before it may change"
    unknown = [user("Ho"), called("call_9"), result("call_9")]
    assert made_by(book.visit(unknown)) is None


def test_subagents_of_a_session_have_branches_of_their_own() -> None:
    book = Book()
    for agent, model in (("one", "a"), ("two", "b")):
        book.ask([user(agent)], model, name="job", calls=[f"call_{agent}"])
    for agent, model in (("one", "a"), ("two", "b")):
        call = f"call_{agent}"
        assert made_by(book.visit([user(agent), called(call), result(call)], "job")) == model


def test_branches_are_numbered() -> None:
    book = Book()
    first = book.ask([user("Hi")], name="job", calls=["call_1"])
    inner = book.ask([user("a sub-agent's task")], name="job")
    loop = [user("Hi"), called("call_1"), result("call_1")]
    later = book.ask(loop, name="job")
    talk = book.ask([*loop, said("done"), user("and now?")], name="job")
    assert [v.number for v in (first, inner, later, talk)] == [0, 1, 0, 0]
    assert book.ask(loop, name="job").number == 0, "sent again, it is the same request"
    assert book.ask([*loop, said("else"), user("fork")], name="job").number == 2
    assert book.ask([*loop, said("done"), user("and now?")], name="other").number == 0


def test_where_ids_of_calls_come_again_the_words_before_them_tell() -> None:
    book = Book()
    for agent, model in (("one", "a"), ("two", "b")):
        book.ask([user(agent)], model, calls=["call_0"])
    for agent, model in (("one", "a"), ("two", "b")):
        assert made_by(book.visit([user(agent), called("call_0"), result("call_0")])) == model
    edited = [user("three"), called("call_0"), result("call_0")]
    assert made_by(book.visit(edited)) == "b", "the latest, where nothing tells them apart"


def test_the_last_model_of_a_loop_is_the_one_that_is_kept() -> None:
    book = Book()
    book.ask([user("Hi")], "a", calls=["call_1"])
    loop = [user("Hi"), called("call_1"), result("call_1")]
    book.ask(loop, "b", calls=["call_2"])
    assert made_by(book.visit([*loop, called("call_2"), result("call_2")])) == "b"


def test_an_answer_that_is_named_is_gone_on_with() -> None:
    book = Book()
    visit = book.ask([user("Hi")])
    book.sessions.answered(visit, "a", "resp_1")
    assert book.visit([user("all new")], follows="resp_1").session is visit.session
    assert book.visit([user("all new")], follows="resp_2").is_new


def board(*models: str) -> PromptLeaderboard:
    return PromptLeaderboard(PreferenceFamily.BT, models, np.zeros(len(models)))


def test_a_task_is_kept_within_its_tool_loop() -> None:
    book = Book()
    visit = book.visit([user("Hi")])
    visit.task = Task(board("a"))
    book.sessions.enter(visit, 0.0)
    book.sessions.called(visit, book.sessions.answered(visit, "a"), "call_1")
    loop = [user("Hi"), called("call_1"), result("call_1")]
    assert book.visit(loop).kept_task is visit.task
    reminder = user("<system-reminder>The file has changed.</system-reminder>")
    assert book.visit([*loop, reminder]).kept_task is visit.task
    assert book.visit([*loop, user("No, the other file.")]).kept_task is None
    assert made_by(book.visit([*loop, user("No, the other file.")])) == "a"
    assert book.visit([*loop, said("Done"), user("Thanks")]).kept_task is None


@pytest.mark.parametrize(
    ("messages", "calls"),
    [
        ([user("Hi")], None),
        ([user("Hi"), called("1"), result("1"), said("Done"), user("More")], None),
        ([user("Hi"), called("1", "2"), result("1"), result("2")], ("2", "1")),
        ([user("Hi"), called("1"), result("1"), user("[image]")], ("1",)),
        ([user("Hi"), called("1"), {"role": "function", "content": "x", "name": "f"}], ()),
        ([result("1")], ("1",)),
    ],
)
def test_what_is_at_the_end(messages: list[Message], calls: tuple[str, ...] | None) -> None:
    found = results_at_end(messages)
    assert (None if found is None else found.calls) == calls


def test_what_is_kept_is_bounded() -> None:
    book = Book(most=50)
    for k in range(500):
        visit = book.visit([user(f"{k}")], f"job {k}")
        visit.task = Task(board("a"))
        book.sessions.enter(visit, 0.0)
        branch = book.sessions.answered(visit, "a", f"resp_{k}")
        for call in range(5):
            book.sessions.called(visit, branch, f"call_{k}_{call}")
    sessions = book.sessions
    assert len(sessions._named) == len(sessions._branches) == 50
    assert len(sessions._calls) == 100
    assert len(sessions._tasks) <= 10
    assert not book.visit([user("x")], "job 499").is_new
    assert book.visit([user("x")], "job 0").is_new


def test_nothing_is_kept_as_it_was_given() -> None:
    book = Book()
    book.ask([user("canary-words")], name="canary-name", calls=["canary-call"])
    assert "canary" not in repr(vars(book.sessions))


# A job: each turn is a question, or the results of so many calls, with a model that answers.
TURNS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=12
)


@pytest.mark.slow
@settings(max_examples=examples(200), deadline=None)
@given(jobs=st.lists(TURNS, min_size=1, max_size=4), named=st.booleans(), data=st.data())
def test_jobs_side_by_side_are_told_apart(
    jobs: list[list[tuple[int, str, bool]]], named: bool, data: st.DataObject
) -> None:
    """Whatever the order in which the requests of several jobs arrive, each belongs to its own, and
    each result goes to the model that made the call. Ids of calls may be those of another job."""
    book = Book()
    sessions: dict[int, Any] = {}
    messages = {k: [user(f"job {k}")] for k in range(len(jobs))}
    pending: dict[int, tuple[tuple[str, ...], str]] = {}
    left = {k: list(turns) for k, turns in enumerate(jobs)}
    while left:
        k = data.draw(st.sampled_from(sorted(left)))
        n_calls, model, unique = left[k].pop(0)
        if not left[k]:
            del left[k]
        turn = len(messages[k])
        name = f"name {k}" if named else None
        visit = book.visit(messages[k], name)
        assert visit.is_new == (k not in sessions)
        calls, maker = pending.pop(k, ((), None))
        assert made_by(visit) == (maker if calls else None)
        own = f"{k}_" if unique else ""
        ids = tuple(f"call_{own}{turn}_{n}" for n in range(n_calls))
        asked = book.ask(messages[k], model, name, calls=ids)
        assert sessions.setdefault(k, asked.session) is asked.session
        if ids:
            messages[k] += [called(*ids), *map(result, ids)]
            pending[k] = ids, model
        else:
            messages[k] += [said("x"), user(f"turn {turn}")]
