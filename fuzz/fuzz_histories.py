"""Random histories through every pair of surface and target, on the way that requests go: no
strict provider refuses one, no text is lost, and what a provider's prompt cache has kept stays as
it was from turn to turn.

    python fuzz/fuzz_histories.py --histories 10000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import httpx
from random_histories import SURFACES, History, Renderer, random_history
from strict_history import CHECKS, RefusedError

from server.adapting.stand_ins import EMPTY
from server.config.secret import Secret
from server.config.settings.providers import ProviderSettings
from server.model_facts import facts_of
from server.model_facts.sellers import seller_of
from server.surfaces.chat.request import ChatRequest, parse_chat_request
from server.surfaces.messages.request import parse_messages_request
from server.surfaces.responses.request import parse_responses_request
from server.upstream import tool_names
from server.upstream.base import Upstream
from server.upstream.errors import UpstreamError
from server.upstream.kinds import build_upstream
from server.upstream.signatures import Signatures

KEY = Secret("k")
# Each with its kind, its address and a model.
TARGETS: dict[str, tuple[str, str, str]] = {
    "openai": ("openai", "https://api.openai.com/v1", "gpt-4.1"),
    "responses": ("openai", "https://api.openai.com/v1", "gpt-5.6-terra"),
    "anthropic": ("anthropic", "https://api.anthropic.com", "claude-sonnet-4-5"),
    "gemini": ("gemini", "https://generativelanguage.googleapis.com", "gemini-3.8-flash"),
    "mistral": ("openai", "https://api.mistral.ai/v1", "mistral-large-4"),
    "deepseek": ("openai", "https://api.deepseek.com", "deepseek-v4-pro"),
    "xai": ("openai", "https://api.x.ai/v1", "grok-4.7"),
    "groq": ("openai", "https://api.groq.com/openai/v1", "llama-3.3-70b"),
    "vllm": ("openai", "http://127.0.0.1:8000/v1", "qwen3-32b"),
}
_ANSWERS: dict[str, dict[str, Any]] = {
    "completions": {"choices": [
        {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]},
    "responses": {"status": "completed", "output": [
        {"type": "message", "role": "assistant", "content": []}]},
    "messages": {"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"},
    "gemini": {"candidates": [
        {"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]},
}  # fmt: skip
# Marks of a prompt cache move on; what they mark does not.
_MARK = "cache_control"


@dataclass
class Target:
    """A provider that refuses what the real one refuses. refusals: what it has said; sent: the
    bodies that it took. is_strict: False for one that takes whatever is JSON."""

    name: str
    refusals: list[str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    upstream: Any = None
    is_strict: bool = True

    def __post_init__(self) -> None:
        kind, base_url, self.model = TARGETS[self.name]
        options = {"responses": True} if self.name == "responses" else {"responses": False}
        profile = {"profile": "vllm"} if self.name == "vllm" else {}
        given = {"kind": kind, "base_url": base_url} | (
            options | profile if kind == "openai" else {}
        )
        settings = ProviderSettings.model_validate(given)
        with patch("server.upstream.kinds.build_transport", self._transport):
            self.upstream: Upstream = build_upstream(self.name, settings, KEY, {})
        self.facts = facts_of(self.model, seller_of(kind, base_url))
        self.marks = Signatures(base_url, KEY)

    def _transport(self, *_: Any, **__: Any) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        last = request.url.path.rpartition("/")[2]
        name = {"responses": "responses"}.get(last, "openai" if self.name == "responses" else "")
        try:
            if self.is_strict:
                CHECKS[name or self.name](body)
        except RefusedError as refused:
            self.refusals.append(str(refused))
            return httpx.Response(400, json={"error": {"message": str(refused)}})
        self.sent.append(body)
        return httpx.Response(200, json=_ANSWERS.get(last, _ANSWERS["gemini"]))


def parsed(surface: str, body: dict[str, Any]) -> ChatRequest:
    """As the endpoint reads it."""
    if surface == "messages":
        return parse_messages_request(body)
    return parse_responses_request(body) if surface == "responses" else parse_chat_request(body)


async def sent_to(target: Target, surface: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the provider has taken. Raises RefusedError."""
    request = parsed(surface, body)
    fit = request.fit(target.upstream, target.model, bounded=False, facts=target.facts)
    if fit.reason is not None:
        raise RefusedError(f"not sent: {fit.reason}")
    outgoing = request.outgoing(target.upstream, target.model, None, fit)
    target.refusals.clear()
    target.sent.clear()
    try:
        await tool_names.complete(target.upstream, outgoing)
    except UpstreamError as error:
        words = "; ".join(target.refusals) or str(error)
        raise RefusedError(words) from None
    if target.refusals:
        raise RefusedError(f"at first: {target.refusals}")
    return target.sent[-1]


async def problems_of(target: Target, surface: str, history: History) -> list[str]:
    """What goes wrong with this history, on its way from a caller of the surface to the target."""
    others = Signatures("https://elsewhere.example", KEY)
    renderer = Renderer(target.marks, others)
    found: list[str] = []
    before: list[Any] = []
    for cut in history.cuts:
        body = renderer.body(surface, history, cut)
        if history.effort and surface == "chat":
            body |= {"reasoning_effort": "low", "max_completion_tokens": 9000}
        try:
            sent = await sent_to(target, surface, body)
        except RefusedError as refused:
            return [*found, f"after {cut} turns refused: {refused}"]
        text = json.dumps(sent)
        lost = [word for words in history.words[:cut] for word in words if word not in text]
        if lost:
            found.append(f"after {cut} turns lost: {lost}")
        turns = turns_of(sent)
        if not goes_on(before, turns):
            found.append(f"after {cut} turns the beginning is another")
        before = turns
    return found


def goes_on(before: Sequence[Any], now: Sequence[Any]) -> bool:
    """Whether a conversation begins as it did before. Its last turn may have more at its end, where
    nothing was said between it and the next of the same role."""
    if not before:
        return True
    *same, last = before
    if list(now[: len(same)]) != same or len(now) < len(before):
        return False
    again = now[len(same)]
    if again == last:
        return True
    old, new = _parts(last), _parts(again)
    if old[-1:] == [EMPTY]:
        old = old[:-1]
    elif old and isinstance(old[-1], str):
        # the empty message was joined to the words before it
        old[-1] = old[-1].removesuffix(f"\n\n{EMPTY}")
    if all(isinstance(part, str) for part in old):
        # the words of two messages in one, as one text or as several
        texts = "\n\n".join(part for part in new if isinstance(part, str))
        return _role(last) == _role(again) and texts.startswith("\n\n".join(old))
    return _role(last) == _role(again) and new[: len(old)] == old


def _role(turn: dict[str, Any]) -> Any:
    return turn.get("role")


def _parts(turn: dict[str, Any]) -> list[Any]:
    """Its texts as texts, and what else there is."""
    content = turn.get("content", turn.get("parts"))
    parts = content if isinstance(content, list) else [content]
    return [part.get("text", part) if isinstance(part, dict) else part for part in parts]


def turns_of(sent: dict[str, Any]) -> list[Any]:
    """The conversation on the wire, without what moves along it."""
    for name in ("messages", "input", "contents"):
        if name in sent:
            turns: list[Any] = sent[name]
            return [_unmarked(turn) for turn in turns]
    return []


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _unmarked(inside) for name, inside in value.items() if name != _MARK}


async def run(seeds: Sequence[int], targets: Sequence[str] = tuple(TARGETS)) -> list[str]:
    """The problems of all pairs, each with what makes it again."""
    found: list[str] = []
    for name in targets:
        target = Target(name)
        for seed in seeds:
            history = random_history(seed)
            for surface in SURFACES:
                problems = await problems_of(target, surface, history)
                found += [f"{surface} to {name}, seed {seed}: {problem}" for problem in problems]
        await target.upstream.close()
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=TARGETS, action="append")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.histories)
    found = asyncio.run(run(seeds, args.target or tuple(TARGETS)))
    for problem in found[:50]:
        print(problem)
    print(f"{args.histories} histories, {len(found)} problems")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
