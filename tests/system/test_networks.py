"""Networks as companies have them: proxies, authorities of their own, and what fails in words."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from fake_provider import FakeProvider
from fake_proxy import FakeProxy
from live_gateway import LiveGateway
from otlp_receiver import OtlpReceiver
from services import free_port

from server.build import build_upstreams
from server.catalogue.cards import build_catalogue
from server.catalogue.provider_lists import ListError, offered_models
from server.cli import main
from server.config.file import ConfigError, parse_settings
from server.scoring.client.knowledge import ask_once
from server.scoring.client.scorer import RemoteScorer
from server.upstream.transport import shared_ssl_context

NAME = "api.nowhere.example"
CANARY = "sk-provider-canary"
ASK: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
YESTERDAY = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def config(base_url: str, kind: str = "openai", extra: str = "") -> str:
    return f"""
providers:
  company: {{kind: {kind}, base_url: "{base_url}", api_key_env: IT_KEY, connect_timeout_s: 1}}
models:
  gpt: {{provider: company, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt: 1}}}}
routing: {{retries: 0}}
{extra}
"""


def asked(text: str, **environ: str) -> httpx.Response:
    with (
        LiveGateway(text, {"IT_KEY": CANARY, **environ}) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
    ):
        answer = client.post("/v1/chat/completions", json=ASK)
    assert CANARY not in answer.text
    return answer


def failure(text: str, **environ: str) -> str:
    answer = asked(text, **environ)
    assert answer.status_code in (502, 504)
    message: str = answer.json()["error"]["message"]
    assert "company" in message
    return message


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def served(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FakeProvider]:
    with FakeProvider(tls=served(authority, "localhost", "127.0.0.1")) as provider:
        yield provider


# --- certificates -----------------------------------------------------------------------------


def test_a_companys_own_authority(secure: FakeProvider, bundle: str) -> None:
    text = config(secure.base_url)
    assert "SSL_CERT_FILE" in failure(text)
    assert asked(text, SSL_CERT_FILE=bundle).status_code == 200


def test_authorities_in_a_folder(secure: FakeProvider, bundle: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "company.pem").write_bytes(Path(bundle).read_bytes())
    subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    text = config(secure.base_url)
    assert asked(text, SSL_CERT_DIR=f"{empty}:{folder}").status_code == 200
    assert "SSL_CERT_FILE" in failure(text, SSL_CERT_DIR=str(empty))


def test_a_folder_that_nobody_has_hashed(secure: FakeProvider, bundle: str, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "company.crt").write_bytes(Path(bundle).read_bytes())
    (folder / "key.pem").write_text("-----BEGIN PRIVATE KEY-----")
    assert asked(config(secure.base_url), SSL_CERT_DIR=str(folder)).status_code == 200


def test_without_either_the_machines_own_store_counts_too(
    authority: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # where OpenSSL takes its default from
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    names = {
        dict(pair for part in found["subject"] for pair in part).get("organizationName", "")
        for found in shared_ssl_context({"OTHER": "x"}).get_ca_certs()
    }
    assert len(names) > 50, "the public ones are there as well"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE: /nowhere/ca.pem cannot be read"),
        ("SSL_CERT_FILE", __file__, "holds no certificate"),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR: /nowhere is not a folder"),
        ("HTTPS_PROXY", "socks5://u:s3cret@p:1080", "HTTPS_PROXY names a SOCKS proxy"),
    ],
)
def test_what_cannot_be_used_is_said_before_the_first_request(
    variable: str,
    value: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = config("https://api.nowhere.example/v1")
    settings = parse_settings(text)
    with pytest.raises(ConfigError, match=r"providers\.company: ") as raised:
        build_upstreams(settings, build_catalogue(settings), {"IT_KEY": CANARY, variable: value})
    assert said in str(raised.value)
    monkeypatch.setenv("IT_KEY", CANARY)
    monkeypatch.setenv(variable, value)
    (tmp_path / "config.yaml").write_text(text)
    assert main(["check", "--config", str(tmp_path / "config.yaml")]) != 0
    shown = capsys.readouterr().out
    assert said in shown
    assert "s3cret" not in str(raised.value) + shown


def test_what_is_not_needed_stops_nothing(provider: FakeProvider) -> None:
    text = config(provider.base_url)
    assert asked(text, SSL_CERT_FILE="/nowhere", ALL_PROXY="socks5://p:1").status_code == 200


# --- the cause in words -----------------------------------------------------------------------


def test_certificates_that_are_not_accepted(authority: trustme.CA, bundle: str) -> None:
    cases = (
        (served(authority, "other.example"), "for another name"),
        (served(authority, "127.0.0.1", not_after=YESTERDAY), "has expired"),
    )
    for context, words in cases:
        with FakeProvider(tls=context) as provider:
            assert words in failure(config(provider.base_url), SSL_CERT_FILE=bundle)


@pytest.mark.slow
def test_a_self_signed_certificate(bundle: str, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with FakeProvider(tls=context) as provider:
        text = config(provider.base_url)
        assert "self-signed" in failure(text, SSL_CERT_FILE=bundle)
        assert asked(text, SSL_CERT_FILE=str(cert)).status_code == 200


@pytest.mark.slow
def test_names_ports_and_protocols(provider: FakeProvider) -> None:
    words = failure(config("http://nowhere.invalid/v1"))
    assert "its name is not known (DNS)" in words
    words = failure(config(f"http://127.0.0.1:{free_port()}/v1"))
    assert "nothing listens there (connection refused)" in words
    words = failure(config(f"https://127.0.0.1:{provider.port}/v1"))
    assert "speak TLS there" in words
    with FakeProxy(silent=True) as other:
        words = failure(config(f"https://127.0.0.1:{other.port}/v1"))
    assert "did not accept a connection in time (the TLS handshake)" in words


def test_a_connection_that_nobody_takes() -> None:
    with socket.socket() as full, socket.socket() as queued, socket.socket() as more:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # the kernel holds one connection for it, then answers no more
        for other in (queued, more):
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        words = failure(config(f"http://127.0.0.1:{full.getsockname()[1]}/v1"))
    assert "did not accept a connection in time (connecting to its address)" in words


def test_a_name_that_leads_inside(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def rebound(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1" if host == NAME else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    text = config(f"http://{NAME}:{provider.port}/v1")
    # uvloop resolves by itself
    with (
        LiveGateway(text, {"IT_KEY": CANARY}, loop="asyncio") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
    ):
        answer = client.post("/v1/chat/completions", json=ASK)
    assert "allow_private_addresses: true" in answer.json()["error"]["message"]


# --- proxies ----------------------------------------------------------------------------------


def test_a_provider_that_only_a_proxy_reaches(authority: trustme.CA, bundle: str) -> None:
    text = config(f"https://{NAME}/v1")
    with (
        FakeProvider(tls=served(authority, NAME)) as provider,
        FakeProxy({NAME: provider.port}) as proxy,
    ):
        environ = {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": bundle}
        assert asked(text, **environ).status_code == 200
        assert len(proxy.asked) == 1
        assert "its name is not known" in failure(text, NO_PROXY=NAME, **environ)
        assert len(proxy.asked) == 1
        failure(text, **environ | {"HTTPS_PROXY": f"http://localhost:{free_port()}"})


def test_the_words_of_a_proxy_for_http() -> None:
    with FakeProxy(login="Basic x") as proxy:
        words = failure(config(f"http://{NAME}/v1"), HTTP_PROXY=proxy.url)
    assert "a proxy on the way wants a login" in words


def test_check_says_what_is_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config(f"https://{NAME}/v1"))
    monkeypatch.setenv("IT_KEY", CANARY)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)

    def checked(**environ: str) -> str:
        with monkeypatch.context() as patched:
            for name, value in environ.items():
                patched.setenv(name, value)
            assert main(["check", "--config", str(path)]) == 0
            shown = capsys.readouterr().out
            assert main(["check", "--config", str(path), "--json"]) == 0
            report = json.loads(capsys.readouterr().out)["network"]
        assert "s3cret" not in shown + json.dumps(report)
        return shown

    shown = checked()
    assert "proxy: none" in shown
    assert "certificates believed: public authorities, this machine" in shown
    assert shown.count("cannot be had yet: ") == 1
    shown = checked(HTTPS_PROXY="http://u:s3cret@p:3128", NO_PROXY="inside,10.0.0.0/8")
    assert "proxy for https: http://p:3128 (HTTPS_PROXY)" in shown
    assert "no proxy for: inside,10.0.0.0/8 (NO_PROXY)" in shown
    shown = checked(HTTPS_PROXY="http://p:3128", NO_PROXY=NAME)
    assert "reached directly: company" in shown


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("{kind: anthropic, base_url: 'https://bedrock-runtime.us-east-1.amazonaws.com'}",
         "Bedrock"),
        ("{kind: gemini, base_url: 'https://aiplatform.googleapis.com/v1/publishers/google'}",
         "Vertex"),
        ("{kind: openai, base_url: 'https://x.openai.azure.com/openai/v1'}", "Entra"),
        ("{kind: openai, base_url: 'https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1', "
         "api_key_env: IT_KEY}", None),
        ("{kind: openai, base_url: 'https://x.openai.azure.com/openai/v1', api_key_env: IT_KEY}",
         None),
    ],
)  # fmt: skip
def test_check_names_a_login_that_cannot_be_made(
    provider: str,
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IT_KEY", CANARY)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"providers: {{company: {provider}}}\n"
        "models: {m: {provider: company, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}\n"
        "scorer: {fixed: {m: 1}}"
    )
    main(["check", "--config", str(path)])
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("provider company: ")]
    assert len(told) == (0 if said is None else 1)
    assert said is None or said in told[0]


def test_check_connects_as_a_request_would(
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IT_KEY", CANARY)
    storage = f"storage: {{url: 'sqlite:///{tmp_path}/l.db'}}"
    path = tmp_path / "config.yaml"
    path.write_text(config(f"https://{NAME}/v1", extra=storage))

    def found(status: int) -> str:
        assert main(["check", "--config", str(path), "--connect", "--json"]) == status
        state: str = json.loads(capsys.readouterr().out)["connections"]["provider company"]
        return state

    with (
        FakeProvider(tls=served(authority, NAME)) as provider,
        FakeProxy({NAME: provider.port}) as proxy,
    ):
        assert "its name is not known" in found(1)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert "SSL_CERT_FILE" in found(1)
        monkeypatch.setenv("SSL_CERT_FILE", bundle)
        assert found(0) == "ok"
        assert provider.requests == []


# --- other connections ------------------------------------------------------------------------


@pytest.mark.slow
def test_traces_go_by_the_proxy_and_to_this_machine_directly(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpReceiver() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        with FakeProxy({"traces.example": port}) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            for endpoint in ("http://traces.example", receiver.url):
                receiver.spans.clear()
                text = config(provider.base_url, extra=f"telemetry: {{otlp_endpoint: {endpoint}}}")
                assert asked(text).status_code == 200
                assert receiver.spans
            assert len(proxy.asked) == 1


def test_a_newer_price_list_comes_by_the_proxy(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeProxy({}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        prices = "prices: {update: true, update_url: 'http://prices.example/list.json'}"
        with LiveGateway(config(provider.base_url, extra=prices), {"IT_KEY": CANARY}):
            deadline = time.monotonic() + 30
            while not proxy.asked and time.monotonic() < deadline:
                time.sleep(0.02)
        assert proxy.asked[0].target == "http://prices.example/list.json"


async def test_a_list_of_models_comes_by_the_proxy() -> None:
    settings = parse_settings(config("http://lists.example/v1"))
    provider = settings.providers["company"]
    environ = {"IT_KEY": CANARY}
    with FakeProxy({}) as proxy:
        with pytest.raises(ListError, match="status 502"):
            await offered_models(
                "company", provider, environ | {"HTTP_PROXY": proxy.url}, YESTERDAY.date()
            )
        assert proxy.asked[0].target == "http://lists.example/v1/models"
    with pytest.raises(ListError, match="SOCKS"):
        await offered_models(
            "company", provider, environ | {"ALL_PROXY": "socks5://p:1"}, YESTERDAY.date()
        )


async def test_a_model_service_is_asked_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeProxy({}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert ask_once(["http://model.example:8001"], {}) is None
        scorer = RemoteScorer(["http://model.example:8001"], timeout_s=5.0)
        assert not await scorer.learn()
        await scorer.close()
        assert [asked.target for asked in proxy.asked] == [
            "http://model.example:8001/v1/checkpoint"
        ] * 2
