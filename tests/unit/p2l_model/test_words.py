"""What a person said, without what clients put around it."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wrapped_turns import WRAPPED

from p2l_model.types import user_turns
from p2l_model.words import persons_words, said

QUESTION = "Why is `a < b` false?\n\nHere is the code:\n```\nx<y> z\n```"


@pytest.mark.parametrize("client", WRAPPED)
@pytest.mark.parametrize("question", [QUESTION, "Hi", "Fix it.\n\nThen say what you did."])
def test_the_wrapping_of_each_client_is_left_out(client: str, question: str) -> None:
    assert persons_words(WRAPPED[client](question)) == question


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "  spaces stay \n",
        "",
        "What does <system-reminder> mean?",
        "<b>Bold</b> and <p class='x'>a paragraph</p>",
        "<context>My own context.</context> <instructions>Mine too.</instructions>",
        "An end without a beginning: </environment_details>",
        "[1, 2, 3] Result: what is this?",
        "# A heading\nand text",
        "This is the question.",
    ],
)
def test_what_is_no_wrapping_stays_as_it_is(text: str) -> None:
    assert persons_words((text,)) == text
    assert said([(text,)]) == (text,)


def test_a_tag_that_is_only_mentioned_swallows_nothing() -> None:
    text = "Explain <system-reminder> to me.\n<system-reminder>\nNever do.\n</system-reminder>"
    assert persons_words((text,)) == "Explain <system-reminder> to me."


def test_nested_wrapping_is_left_out_as_a_whole() -> None:
    text = "<env>\n<env>\na\n</env>\nb\n</env>\nQuestion"
    assert persons_words((text,)) == "Question"
    text = "<env>\na <user_query>no</user_query>\n</env>\nQuestion"
    assert persons_words((text,)) == "Question"
    assert persons_words(('<file path="a"/>Question',)) == "Question"


def test_turns_without_a_persons_words_are_left_out() -> None:
    reminder = "<system-reminder>\nGo on.\n</system-reminder>"
    result = "[read_file for 'a.py'] Result:\na = 1"
    assert said([("First",), (reminder,), (result,), ("Last", reminder)]) == ("First", "Last")
    assert said([("First",), (reminder,)]) == ("First",)


def test_there_is_always_something_to_be_scored() -> None:
    reminder = "<system-reminder>\nGo on.\n</system-reminder>"
    assert said([(reminder,), (reminder, reminder)]) == (reminder, f"{reminder}\n{reminder}")
    assert said([("",)]) == ("",)
    assert said([]) == ()


def test_tool_results_and_attachments_are_no_turns() -> None:
    messages = [
        {"role": "user", "content": "Question"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "a", "content": "an output"},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "an output"},
                {"type": "document", "source": {"type": "text", "data": "a document"}},
                {"type": "text", "text": "<system-reminder>x</system-reminder>"},
            ],
        },
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "a file"}}]},
    ]
    assert user_turns(messages) == ("Question",)


PIECES = st.sampled_from(
    ["<env>", "</env>", "<env/>", "<user_query>", "</user_query>", "<task>", "</task>", "a", "\n",
     "<", ">", "</", "<feedback>", "</feedback>", "<system-reminder", " ",
     "# AGENTS.md instructions", "<INSTRUCTIONS>", "</INSTRUCTIONS>",
     "--- Content from referenced files ---",
     "--- End of content ---", "[x] Result:", "environment_details>"]
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=3))
@example(["<env><env></env>"])
def test_any_text_can_be_read(texts: list[str]) -> None:
    words = persons_words(texts)
    assert set(words) <= set("".join(texts)) | {"\n"}
    found = said([texts])
    assert len(found) == 1
    assert found[0].strip() or not "".join(texts).strip()


@pytest.mark.parametrize(
    "piece",
    [
        "<env>", "<env><task>", "<", "<user_query>a</user_query>", "# AGENTS.md instructions ",
        "--- Content from referenced files ---",
        *(pytest.param(piece, marks=pytest.mark.slow) for piece in (
            "</env>", "<env></env>", "<env ", "<e", "<env>\n", "<env/>", "<task>a</task>",
            "<system-reminder-", "<user_query><env>", "\n<INSTRUCTIONS></INSTRUCTIONS>",
            "[Request interrupted by user", " ", "\n", "[a",
            "--- Content from referenced files ------ End of content ---",
            "<INSTRUCTIONS>\n# AGENTS.md instructions </INSTRUCTIONS>",
        )),
    ],
)  # fmt: skip
def test_it_takes_time_by_the_length_alone(piece: str) -> None:
    def seconds(turns: list[tuple[str]]) -> float:
        started = time.process_time()
        said(turns)
        return time.process_time() - started

    def turns_of(size: int) -> list[tuple[str]]:
        text = piece * (size // len(piece))
        return [(text[at : at + 4_000],) for at in range(0, len(text), 4_000)]

    # of a text, as much is read as there is room for: ten times as much to take a hundred times
    # as long would be a square
    few, many = 30_000, 300_000
    for make in (lambda size: [(piece * (size // len(piece)),)], turns_of):
        small = min(seconds(make(few)) for _ in range(3))
        assert min(seconds(make(many)) for _ in range(2)) < 40 * max(small, 0.001)


def test_of_too_much_the_end_is_read() -> None:
    long = "<env>\n" + "x " * 1_500_000 + "\n</env>"
    assert said([(long, "<env>a</env>Question")])[0].endswith("Question")
    assert said([("<b>old</b>",), (long,), ("new <env>a</env>",)])[-1] == "new"
