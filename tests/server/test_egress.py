"""Where a provider's name may lead, and that nothing of it is sent elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from server.build import api_key
from server.config_file import ConfigError
from server.settings import ProviderSettings
from server.upstream.egress import address_rule

KEY = "sk-provider-canary"
PRIVATE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.20.0.2", "::1", "fd00::1", "100.64.0.1",
           "0.0.0.0", "::ffff:127.0.0.1", "::ffff:10.0.0.1"]  # fmt: skip
METADATA = ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"]
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]


@pytest.mark.parametrize(
    ("base_url", "allowed"),
    [
        ("https://api.openai.com/v1", [False, False, True]),
        ("https://localhost.evil.example/v1", [False, False, True]),
        ("http://vllm:8000/v1", [True, False, True]),
        ("http://llm.default.svc.cluster.local/v1", [True, False, True]),
        ("http://127.0.0.1:9000/v1", [True, True, True]),
        ("http://[::1]:9000/v1", [True, True, True]),
        ("http://localhost:9000/v1", [True, True, True]),
    ],
)
def test_what_a_name_may_lead_to(base_url: str, allowed: list[bool]) -> None:
    rule = address_rule(base_url, allow_private=False)
    for addresses, expected in zip((PRIVATE, METADATA, PUBLIC), allowed, strict=True):
        assert {address: rule(address) for address in addresses} == dict.fromkeys(
            addresses, expected
        )
    assert all(map(address_rule(base_url, allow_private=True), PRIVATE + METADATA + PUBLIC))


@pytest.fixture
def rebound(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A base_url with a public name that leads to the loopback address."""
    import socket

    real = socket.getaddrinfo

    def lying(host: object, *rest: object, **more: object) -> object:
        if host in ("api.provider.example", b"api.provider.example"):
            host = "127.0.0.1"
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    return provider.base_url.replace("127.0.0.1", "api.provider.example")


def ask(config: str) -> httpx.Response:
    with LiveGateway(config, {"MAIN_KEY": KEY}, loop="asyncio") as live:
        body = {"model": "cheap", "messages": [{"role": "user", "content": "hi"}]}
        return httpx.post(f"{live.url}/v1/chat/completions", json=body, trust_env=False)


def test_a_public_name_that_leads_inside_gets_nothing(rebound: str, provider: FakeProvider) -> None:
    refused = ask(config_for(rebound))
    assert refused.status_code == 502
    assert provider.requests == []
    allowed = config_for(rebound).replace("kind: openai", "allow_private_addresses: true")
    assert ask(allowed).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(
    client: httpx.Client, provider: FakeProvider, status: int, stream: bool
) -> None:
    with FakeProvider() as elsewhere:
        moved = Behaviour(
            status=status, headers={"location": f"{elsewhere.base_url}/chat/completions"}
        )
        provider.script("up-cheap", moved)
        body = {"model": "cheap", "messages": [{"role": "user", "content": "hi"}]}
        response = client.post("/v1/chat/completions", json=body | {"stream": stream})
        assert response.status_code == 502
        assert elsewhere.requests == []


def test_nothing_a_caller_sends_moves_the_key(client: httpx.Client, provider: FakeProvider) -> None:
    with FakeProvider() as elsewhere:
        evil = elsewhere.base_url
        body = {"model": "cheap", "messages": [{"role": "user", "content": "hi"}],
                "base_url": evil, "api_base": evil, "provider": {"base_url": evil},
                "extra_headers": {"host": evil}, "url": evil}  # fmt: skip
        names = ("x-upstream-url", "x-base-url", "x-forwarded-host", "x-portkey-custom-host",
                 "helicone-target-url", "proxy-authorization")  # fmt: skip
        headers = dict.fromkeys(names, evil) | {"cookie": "a=b", "openai-organization": "x"}
        assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        assert elsewhere.requests == []
    assert not set(provider.chats[0].headers) & (set(headers) | {"x-api-key"})


def test_a_key_by_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    provider = ProviderSettings(base_url="http://x/v1", api_key_file=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        api_key("main", provider, {})
    path.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        api_key("main", provider, {})
    path.write_text(f"{KEY}\n")
    secret = api_key("main", provider, {})
    assert secret is not None
    assert secret.reveal() == KEY
    with pytest.raises(ValueError, match="not both"):
        ProviderSettings(base_url="http://x/v1", api_key_file=path, api_key_env="A")
