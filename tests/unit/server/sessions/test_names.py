"""How a session is named: by our own header and field, and by what clients send anyway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import InvalidRequestError
from server.sessions.names import session_named

UUID = "0b4a6fb2-93f8-4a4e-9f5a-0d4c8b8f7a11"
USER_ID = f"user_{'0a' * 32}_account_{UUID[::-1]}_session_{UUID}"


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({}, {}, None),
        ({"x-session-id": "a job"}, {}, "a job"),
        ({}, {"p2l": {"session": "a job"}}, "a job"),
        ({"x-session-id": "a job"}, {"p2l": {"session": "a job"}}, "a job"),
        ({"x-session-id": "日本"}, {"p2l": {"session": "日本"}}, "日本"),
        ({"x-claude-code-session-id": UUID}, {}, UUID),
        ({"session-id": UUID}, {}, UUID),
        ({"session_id": UUID}, {}, UUID),
        ({"conversation_id": UUID}, {}, UUID),
        ({"x-session-affinity": "ses_1"}, {}, "ses_1"),
        ({"x-session-id": "ours", "session_id": UUID}, {}, "ours"),
        ({"x-session-affinity": "ses_1", "session_id": UUID}, {}, UUID),
        ({}, {"metadata": {"user_id": USER_ID}}, UUID),
        ({}, {"metadata": {"user_id": json.dumps({"session_id": UUID})}}, UUID),
        ({}, {"metadata": {"user_id": "somebody_session"}}, None),
        ({}, {"metadata": {"user_id": '{"session_id": 5}'}}, None),
        ({}, {"metadata": {"user_id": '{"session'}}, None),
        ({}, {"metadata": "session"}, None),
        ({}, {"prompt_cache_key": "app"}, None),
        ({"user-agent": "my-app/1"}, {"prompt_cache_key": "app"}, None),
        ({"user-agent": "codex_cli_rs/0.171.0 (linux)"}, {"prompt_cache_key": UUID}, UUID),
        ({"user-agent": "opencode/1.18.33"}, {"prompt_cache_key": "ses_1"}, "ses_1"),
        ({"originator": "codex_exec"}, {"prompt_cache_key": UUID}, UUID),
        ({"session_id": ""}, {}, None),
        ({"session_id": "x" * 5000}, {}, None),
    ],
)
def test_where_a_name_is_found(
    headers: dict[str, str], body: dict[str, Any], name: str | None
) -> None:
    raw = [(n.encode(), v.encode()) for n, v in headers.items()]
    assert session_named(raw, body) == name


@pytest.mark.parametrize(
    ("headers", "body", "param"),
    [
        ([("x-session-id", "")], {}, "X-Session-Id"),
        ([("x-session-id", "x" * 129)], {}, "X-Session-Id"),
        ([("x-session-id", "a\x07b")], {}, "X-Session-Id"),
        ([("x-session-id", "a"), ("x-session-id", "a")], {}, "X-Session-Id"),
        ([("x-session-id", "a")], {"p2l": {"session": "b"}}, "X-Session-Id"),
        ([], {"p2l": {"session": ""}}, "p2l.session"),
        ([], {"p2l": {"session": 5}}, "p2l.session"),
        ([], {"p2l": {"session": "a\nb"}}, "p2l.session"),
    ],
)
def test_a_bad_name_of_ours_is_refused(
    headers: list[tuple[str, str]], body: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        session_named([(n.encode(), v.encode()) for n, v in headers], body)
    assert caught.value.param == param
    assert param in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["metadata", "prompt_cache_key"]), JSON), st.binary())
# How fast a busy machine makes examples says nothing of what is tested.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_that_clients_send_is_an_error(body: dict[str, Any], value: bytes) -> None:
    headers = [(b"session_id", value), (b"user-agent", b"codex"), (b"x-session-affinity", value)]
    found = session_named(headers, body)
    assert found is None or (isinstance(found, str) and found)
    found = session_named([], {"metadata": {"user_id": body.get("prompt_cache_key")}})
    assert found is None or isinstance(found, str)
