"""Where a provider's name may lead, and that nothing of it is sent elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway, config_for

from server.config.file import ConfigError, parse_settings
from server.config.provider_keys import api_key
from server.config.settings import ProviderSettings
from server.upstream.egress import address_rule

KEY = "sk-provider-canary"
HERE = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
PRIVATE = ["10.1.2.3", "192.168.0.1", "172.20.0.2", "fd00::1", "fc00::1", "100.64.0.1", "0.0.0.0",
           "::", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1",
           "198.18.0.1", "192.0.2.1", "240.0.0.1"]  # fmt: skip
METADATA = ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200"]  # fmt: skip
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]


@pytest.mark.parametrize(
    ("base_url", "allowed"),
    [
        ("https://api.openai.com/v1", [False, False, False, True]),
        ("https://localhost.evil.example/v1", [False, False, False, True]),
        ("http://vllm:8000/v1", [True, True, False, True]),
        ("http://llm.default.svc.cluster.local/v1", [True, True, False, True]),
        ("http://127.0.0.1:9000/v1", [True, False, False, False]),
        ("http://[::1]:9000/v1", [True, False, False, False]),
        ("http://localhost:9000/v1", [True, False, False, False]),
        ("http://2130706433/v1", [True, False, False, False]),
        ("http://10.0.0.7:80/v1", [False, False, False, True]),
        ("http://167772167/v1", [False, False, False, True]),
        ("http://93.184.216.34/v1", [False, False, False, True]),
    ],
)
def test_what_a_name_may_lead_to(base_url: str, allowed: list[bool]) -> None:
    rule = address_rule(base_url, allow_private=False)
    kinds = (HERE, PRIVATE, METADATA, PUBLIC)
    for addresses, expected in zip(kinds, allowed, strict=True):
        assert {address: rule(address) for address in addresses} == dict.fromkeys(
            addresses, expected
        )
    assert all(address_rule(base_url, allow_private=True)(one) for kind in kinds for one in kind)


# Each is an address of a private network, as a resolver reads it; the last are the machine's own.
HIDDEN = ["167772167", "0x0a000007", "0xA.0.0.7", "012.0.0.7", "10.7", "10.0.0.7.", "2852039166",
          "0xa9fea9fe", "1684300900", "0", "2130706433", "127.1"]  # fmt: skip


@pytest.mark.parametrize("host", HIDDEN)
def test_an_address_that_hides_what_it_is_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"means the address .* write that instead"):
        parse_settings(f"providers: {{p: {{base_url: 'http://{host}:80/v1'}}}}")


@pytest.mark.parametrize(
    "host",
    ["10.0.0.7", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0",
     "[fc00::1]", "[fd12::7]", "[fe80::1]", "[fe80::1%25eth0]", "[::]", "[::ffff:10.0.0.7]",
     "[64:ff9b::a00:7]", "[2002:a00:7::]", "224.0.0.1"],
)  # fmt: skip
def test_a_private_address_needs_leave(host: str) -> None:
    text = f"providers: {{p: {{base_url: 'http://{host}:80/v1'}}}}"
    with pytest.raises(ConfigError, match="set allow_private_addresses: true"):
        parse_settings(text)
    parse_settings(text.replace("'}}", "', allow_private_addresses: true}}"))
    allowed = address_rule(f"http://{host}/v1", allow_private=False)
    assert not allowed(host.strip("[]").replace("%25", "%"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "vllm", "8.8.8.8", "x.example"]
)
def test_hosts_that_need_no_leave(host: str) -> None:
    parse_settings(f"providers: {{p: {{base_url: 'http://{host}:80/v1'}}}}")


def test_what_is_neither_a_name_nor_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a name nor an address"):
        parse_settings("providers: {p: {base_url: 'http://256.1.1.1/v1'}}")


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
