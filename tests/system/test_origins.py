"""A web page that somebody on this machine looks at: what it can make a gateway without keys do,
and which pages one with keys lets read its answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fake_provider import FakeProvider
from fastapi.routing import iter_route_contexts
from live_gateway import LiveGateway, config_for
from live_model import LiveModel
from tiny_checkpoint import write_checkpoint

from server.config.file import ConfigError, parse_settings
from server.wire.hosts import is_loopback_authority, is_loopback_origin

PROVIDER_KEY = "sk-provider-canary"
CHAT = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}]}
LOCAL_PAGE = "http://localhost:3000"
KEYS = """
auth: {keys: [{name: team, key_env: TEAM_KEY}]}
server: {cors_origins: ["https://chat.example", "http://192.168.1.5:3000"]}
"""
FOREIGN = [
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example:8000"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"host": "localhost:8000", "origin": "http://localhost.evil.example"},
]
Answer = tuple[int, dict[str, str], bytes]


def ask(url: str, method: str, path: str, *headers: tuple[str, str], body: object = None) -> Answer:
    """With these headers alone, in their order, Host included."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    content = b"" if body is None else json.dumps(body).encode()
    for name, value in (*headers, ("content-length", str(len(content)))):
        connection.putheader(name, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    told = {name.lower(): value for name, value in answer.getheaders()}
    found = answer.status, told, answer.read()
    connection.close()
    return found


def code_of(answer: Answer) -> str:
    error = json.loads(answer[2])["error"]
    return str(error.get("code") or error)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(api_key=PROVIDER_KEY) as fake:
        yield fake


@pytest.fixture(scope="module")
def open_gateway(provider: FakeProvider) -> Iterator[LiveGateway]:
    with LiveGateway(config_for(provider.base_url), {"MAIN_KEY": PROVIDER_KEY}) as live:
        yield live


@pytest.fixture(scope="module")
def keyed(provider: FakeProvider) -> Iterator[LiveGateway]:
    environ = {"MAIN_KEY": PROVIDER_KEY, "TEAM_KEY": "team-key"}
    with LiveGateway(config_for(provider.base_url, KEYS), environ) as live:
        yield live


def routes_of(app: Any) -> set[tuple[str, str]]:
    """(method, path) of all that the app serves, and of what it does not."""
    served = iter_route_contexts(app.routes)
    found = {(method, str(route.path)) for route in served for method in route.methods or ()}
    return found | {("GET", "/nothing"), ("POST", "/v1/nothing"), ("OPTIONS", "/v1/models")}


@pytest.mark.slow
def test_no_route_of_an_open_gateway_serves_who_is_not_of_this_machine(
    open_gateway: LiveGateway, provider: FakeProvider
) -> None:
    routes = routes_of(open_gateway.app)
    assert len(routes) > 30
    asked = len(provider.requests)
    for method, path in sorted(routes):
        for given in FOREIGN:
            headers = {"host": "127.0.0.1", "content-type": "text/plain", **given}
            answer = ask(open_gateway.url, method, path, *headers.items(), body=CHAT)
            assert answer[0] == 403, (method, path, given)
            assert "access-control-allow-origin" not in answer[1]
            if method != "HEAD":
                assert "misconfigured_origin" in answer[2].decode() or "/messages" in path
    assert len(provider.requests) == asked, "nothing was spent"


def test_what_is_refused_says_why_and_what_to_do(open_gateway: LiveGateway) -> None:
    answer = ask(open_gateway.url, "POST", "/v1/chat/completions", ("host", "evil.example"))
    assert code_of(answer) == "misconfigured_origin"
    message = json.loads(answer[2])["error"]["message"]
    assert "the Host 'evil.example'" in message
    assert "http://127.0.0.1" in message
    assert "auth.keys" in message
    counted = ask(open_gateway.url, "GET", "/metrics", ("host", "localhost"))[2].decode()
    assert 'requests_total{code="403",route="other"}' in counted


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "")],
        [("host", "localhost"), ("host", "localhost")],
        [("host", "localhost"), ("host", "evil.example")],
        [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://localhost")],
        [("host", "localhost"), ("origin", "")],
        [("host", "localhost"), ("origin", "http://localhost http://evil.example")],
        [("host", "localhost"), ("upgrade", "websocket"), ("connection", "upgrade"),
         ("sec-websocket-version", "13"), ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
         ("origin", "https://evil.example")],
    ],
)  # fmt: skip
def test_headers_that_leave_a_doubt_are_refused(
    open_gateway: LiveGateway, headers: list[tuple[str, str]]
) -> None:
    answer = ask(open_gateway.url, "GET", "/v1/models", *headers)
    assert answer[0] == 403
    assert code_of(answer) == "misconfigured_origin"


def test_the_host_of_an_absolute_target_counts(open_gateway: LiveGateway) -> None:
    for host in ("evil.example", "evil.example:80", "localhost@evil.example", "evil.example?"):
        answer = ask(open_gateway.url, "GET", f"http://{host}/v1/models", ("host", "localhost"))
        assert answer[0] in (400, 403), host
    own = f"http://localhost:{urlsplit(open_gateway.url).port}/v1/models"
    assert ask(open_gateway.url, "GET", own, ("host", urlsplit(own).netloc))[0] == 200


LOCAL = [
    "localhost", "LocalHost", "localhost.", "localhost:8000", "127.0.0.1", "127.0.0.1:1",
    "127.255.255.254:65535", "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
]  # fmt: skip
ELSEWHERE = [
    "localhost.evil.example", "evil.localhost", "localhost..", "localhost@evil.example",
    "evil.example@localhost", "user:secret@127.0.0.1", "127.0.0.1.nip.io", "127.1", "2130706433",
    "0x7f000001", "0177.0.0.1", "127.0.0.01", "0.0.0.0", "::1", "[127.0.0.1]", "[::1", "[::1]x",
    "[::1%lo]", "[::]", "[fe80::1]", "128.0.0.1", "localhost:", "localhost:80:80",
    "localhost:8000/", "localhost,evil.example", " localhost", "localhost\t",
    "localhost\u0301", "\u24db\u24de\u24d2alhost", "169.254.169.254", "10.0.0.1", "",
]  # fmt: skip


@pytest.mark.parametrize("authority", LOCAL)
def test_names_of_this_machine(authority: str) -> None:
    assert is_loopback_authority(authority)
    assert is_loopback_origin(f"http://{authority}")
    assert is_loopback_origin(f"https://{authority}")


@pytest.mark.parametrize("authority", ELSEWHERE)
def test_names_that_are_not_of_this_machine(authority: str) -> None:
    assert not is_loopback_authority(authority)
    assert not is_loopback_origin(f"http://{authority}")


@pytest.mark.parametrize(
    "origin",
    ["null", "localhost", "file://", "http:/localhost", "ftp://localhost", "HTTP://localhost"],
)
def test_origins_that_are_no_pages_of_this_machine(origin: str) -> None:
    assert not is_loopback_origin(origin)


PREFLIGHT = (
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
)


def check_preflight(answer: Answer, origin: str) -> None:
    status, headers, body = answer
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == origin
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == PREFLIGHT[1][1]
    assert "Origin" in headers["vary"]
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origin", [LOCAL_PAGE, "http://127.0.0.1:5173", "https://[::1]"])
def test_pages_of_this_machine_may_call_an_open_gateway(
    open_gateway: LiveGateway, origin: str
) -> None:
    page = (("host", "localhost"), ("origin", origin), ("content-type", "application/json"))
    path, url = "/v1/chat/completions", open_gateway.url
    check_preflight(ask(url, "OPTIONS", path, *page, *PREFLIGHT), origin)
    whole = ask(url, "POST", path, *page, body=CHAT)
    streamed = ask(url, "POST", path, *page, body={**CHAT, "stream": True})
    wrong = ask(url, "POST", path, *page, body={**CHAT, "model": "nobody"})
    bad = ask(url, "POST", path, *page, body=5)
    lost = ask(url, "GET", "/nothing", *page)
    models = ask(url, "GET", "/v1/models", *page)
    answers = [whole, streamed, wrong, bad, lost, models]
    assert [answer[0] for answer in answers] == [200, 200, 404, 400, 404, 200]
    for _, headers, _ in answers:
        assert headers["access-control-allow-origin"] == origin
        assert headers["vary"] == "Origin"
    for _, headers, _ in (whole, streamed):
        exposed = set(headers["access-control-expose-headers"].split(", "))
        assert {name for name in headers if name.startswith("x-p2l-")} < exposed
        assert {"x-request-id", "server-timing"} < exposed


def test_programs_get_no_cors_headers_but_caches_learn_of_them(open_gateway: LiveGateway) -> None:
    whole = ask(open_gateway.url, "POST", "/v1/chat/completions", ("host", "[::1]:1"), body=CHAT)
    assert whole[0] == 200
    assert not [name for name in whole[1] if name.startswith("access-control")]
    page = ask(open_gateway.url, "GET", "/", ("host", "127.0.0.1"))
    assert page[0] == 200
    assert page[1]["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://chat.example", "http://192.168.1.5:3000"])
def test_with_keys_the_configured_pages_may_call(keyed: LiveGateway, origin: str) -> None:
    page = (("host", "router.example"), ("origin", origin))
    path = "/v1/chat/completions"
    check_preflight(ask(keyed.url, "OPTIONS", path, *page, *PREFLIGHT), origin)
    refused = ask(keyed.url, "POST", path, *page, body=CHAT)
    bearer = ("authorization", "Bearer team-key")
    whole = ask(keyed.url, "POST", path, *page, bearer, body=CHAT)
    streamed = ask(keyed.url, "POST", path, *page, bearer, body={**CHAT, "stream": True})
    assert [refused[0], whole[0], streamed[0]] == [401, 200, 200]
    for answer in (refused, whole, streamed):
        assert answer[1]["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin", ["https://evil.example", LOCAL_PAGE, "null", "https://chat.example:444", "*"]
)
def test_with_keys_no_other_page_may_read_an_answer(keyed: LiveGateway, origin: str) -> None:
    page = (("host", "router.example"), ("origin", origin), ("authorization", "Bearer team-key"))
    asked = ask(keyed.url, "OPTIONS", "/v1/chat/completions", *page, *PREFLIGHT)
    assert asked[0] == 405
    answered = ask(keyed.url, "GET", "/v1/models", *page)
    assert answered[0] == 200
    assert answered[1]["vary"] == "Origin"
    for _, headers, _ in (asked, answered):
        assert "access-control-allow-origin" not in headers


def test_every_page_may_call_where_the_operator_says_so(provider: FakeProvider) -> None:
    config = KEYS[: KEYS.index("server:")] + 'server: {cors_origins: ["*"]}'
    environ = {"MAIN_KEY": PROVIDER_KEY, "TEAM_KEY": "team-key"}
    with LiveGateway(config_for(provider.base_url, config), environ) as live:
        page = (("host", "x"), ("origin", "https://any.example"))
        check_preflight(ask(live.url, "OPTIONS", "/v1/models", *page, *PREFLIGHT), "*")
        assert ask(live.url, "GET", "/v1/models", *page)[0] == 401


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        ('["https://chat.example/"]', "without a final slash"),
        ('["https://chat.example/app"]', "without a path"),
        ('["chat.example"]', "write SCHEME://HOST"),
        ('["https://Chat.example"]', "lower case"),
        ('["https://*.example"]', "is not the origin of a page"),
        ('["https://user@chat.example"]', "is not the origin of a page"),
        ('["null"]', "is not the origin of a page"),
        ('["https://chat.example:443"]', "write 'https://chat.example'"),
        ('["http://chat.example:80"]', "write 'http://chat.example'"),
        ('["*", "https://chat.example"]', "give it alone"),
    ],
)
def test_an_origin_that_would_never_match_is_refused(origins: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        parse_settings(f"server:\n  cors_origins: {origins}\n")
    assert "configuration:2: server.cors_origins: " in str(refused.value)


@pytest.mark.slow
def test_the_model_service_without_a_key_serves_its_own_machine_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with LiveModel(tmp_path) as live:
        for method, path in sorted(routes_of(live.app)):
            for given in FOREIGN:
                headers = {"host": "127.0.0.1", **given}
                answer = ask(live.url, method, path, *headers.items(), body={"prompt": ["Hi"]})
                assert answer[0] == 403, (method, path, given)
        page = (("host", "localhost"), ("origin", LOCAL_PAGE))
        check_preflight(ask(live.url, "OPTIONS", "/predict", *page, *PREFLIGHT), LOCAL_PAGE)
        answer = ask(live.url, "POST", "/predict", *page, body={"prompt": ["Hi"]})
        assert answer[0] == 200
        assert answer[1]["access-control-allow-origin"] == LOCAL_PAGE
    with LiveModel(tmp_path, key="model-key") as live:
        headers = (("host", "scorer:8001"), ("api-key", "model-key"))
        assert ask(live.url, "GET", "/models", *headers)[0] == 200
