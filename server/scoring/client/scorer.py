"""A scorer that asks model services over HTTP: the least loaded one first, another where it
fails."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import orjson

from p2l_model.engine.replicas import Replica, Replicas
from p2l_model.engine.scorer import ScoredPrompt, ScorerOverloadedError
from p2l_model.errors import ScoringError
from p2l_model.types import Conversation, PromptLeaderboard
from server.config.secret import Secret
from server.process.background import Background, Job
from server.process.bugs import kind_and_place
from server.process.heavy import LARGE_BYTES
from server.scoring.client.knowledge import Knowledge, knowledge_of
from server.scoring.service.wire import board_from_wire, names_from_wire
from server.upstream.transport import build_client

_LOG: Final = logging.getLogger(__name__)
# The share of the caller's time limit for one replica, so that a hanging one is detected in time.
_SHARE: Final = 0.9
_REFRESH_S: Final = 30.0
_STALE_S: Final = 300.0
_BYTES_PER_TOKEN: Final = 4
_UNAVAILABLE: Final = 503
_CALLERS: Final = frozenset({400, 413, 422})


class _ReplicaError(Exception):
    """A replica gave no answer; another one may."""


class RemoteScorer:
    """Scores prompts by model services; used on one event loop. The names and the marginal
    leaderboard, which a gateway needs before the first score, are requested at the start and again
    until a service answers."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout_s: float,
        key: Secret | None = None,
        known: Knowledge | None = None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """timeout_s: the caller's time limit. known: the knowledge from elsewhere, where there is
        some."""
        self._replicas = Replicas(urls, time.monotonic)
        self._timeout_s = timeout_s * _SHARE
        self._key = key
        self._known = known
        self._client = client
        self.background = Background()
        self._jobs = AsyncExitStack()

    @property
    def models(self) -> tuple[str, ...]:
        """The names; empty until a service has been reached."""
        return () if self._known is None else self._known.models

    @property
    def marginal(self) -> PromptLeaderboard | None:
        return None if self._known is None else self._known.marginal

    async def start(self) -> None:
        """Keeps the knowledge about the services up to date from now on."""
        job = Job(
            name="leaderboards",
            work=self._keep_fresh,
            every_s=_REFRESH_S,
            # Requests are served nevertheless, by the previous knowledge.
            stale_after_s=_STALE_S,
            at_once=True,
        )
        await self._jobs.enter_async_context(self.background.doing(job))

    async def _keep_fresh(self) -> None:
        if not await self.learn():
            raise ScoringError("no model service says which models it knows")

    async def learn(self) -> bool:
        """Asks the services what they serve; returns False where none answers."""
        for replica in self._replicas:
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._known = await knowledge_of(self._http(), replica.url, self._headers())
            except (ScoringError, httpx.HTTPError, TimeoutError):
                continue
            except Exception as error:
                # Whatever one of them answers, the others are asked.
                _LOG.error(
                    "the leaderboard of a model service was refused: %s", kind_and_place(error)
                )
                continue
            return True
        return False

    async def score(self, conversation: Conversation) -> ScoredPrompt:
        """Scores a conversation. Raises ScorerOverloadedError, ScoringError."""
        if sum(map(len, conversation.turns)) > LARGE_BYTES:
            body = await asyncio.to_thread(_request_body, conversation)
        else:
            body = _request_body(conversation)
        tried: list[Replica] = []
        ends_s = time.monotonic() + self._timeout_s
        while usable := self._replicas.usable(tried):
            replica, left_s = usable[0], ends_s - time.monotonic()
            if left_s <= 0:
                break
            tried.append(replica)
            try:
                with self._replicas.asking(replica):
                    # The time for a hanging replica leaves as much for each of the others.
                    return await self._ask(replica, body, left_s / len(usable))
            except _ReplicaError as error:
                failure = error
        if not tried:
            raise ScorerOverloadedError(0, 1.0)
        raise ScoringError(f"no model service answered: {failure}")

    async def _ask(self, replica: Replica, body: bytes, timeout_s: float) -> ScoredPrompt:
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._http().post(
                    f"{replica.url}/v1/score",
                    content=body,
                    headers=self._headers(),
                    timeout=httpx.Timeout(None, connect=timeout_s),
                )
        except httpx.ConnectError as error:
            self._replicas.failed(replica, gone=True)
            raise _ReplicaError(f"{replica.url} cannot be reached") from error
        except (httpx.HTTPError, TimeoutError) as error:
            self._replicas.failed(replica)
            raise _ReplicaError(f"{replica.url}: {type(error).__name__}") from error
        if answer.status_code == _UNAVAILABLE:
            self._replicas.busy(replica, _retry_after_s(answer))
            raise _ReplicaError(f"{replica.url} is busy or not ready")
        return self._read(replica, answer)

    def _read(self, replica: Replica, answer: httpx.Response) -> ScoredPrompt:
        if answer.status_code in _CALLERS:
            self._replicas.answered(replica)
            raise ScoringError(f"the model service refused the prompt ({answer.status_code})")
        try:
            if not answer.is_success:
                raise ScoringError(f"status {answer.status_code}")
            scored = _scored(_parsed(answer.content))
        except ScoringError as error:
            self._replicas.failed(replica)
            raise _ReplicaError(f"{replica.url}: {error}") from error
        self._replicas.answered(replica)
        return scored

    def _headers(self) -> dict[str, str]:
        return request_headers(self._key)

    def _http(self) -> httpx.AsyncClient:
        # Created at first use: its connections belong to the event loop.
        if self._client is None:
            self._client = build_client(max_concurrency=1024)
        return self._client

    async def count_tokens(self, text: str) -> int:
        """An estimate without a tokenizer: one token for four bytes."""
        return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)

    async def close(self) -> None:
        """Closes the connections."""
        await self._jobs.aclose()
        if self._client is not None:
            await self._client.aclose()


def request_headers(key: Secret | None) -> dict[str, str]:
    """The headers of a request to a model service."""
    headers = {"content-type": "application/json"}
    return headers if key is None else headers | {"api-key": key.reveal()}


def warn_unreached(urls: Sequence[str]) -> None:
    """Warns on standard error: the gateway starts nevertheless, but is not ready yet."""
    print(
        f"p2l-router: scorer.url: no model service answers at {', '.join(urls)} yet. The gateway "
        "keeps asking until one does. Is `p2l-router model` running there, and is the key right?",
        file=sys.stderr,
        flush=True,
    )


def _request_body(conversation: Conversation) -> bytes:
    # A lone surrogate has no UTF-8 form; the tokenizer would see the same replacement.
    turns = [turn.encode("utf-8", "replace").decode() for turn in conversation.turns] or [""]
    messages = [{"role": "user", "content": turn} for turn in turns]
    return orjson.dumps({"conversations": [messages]})


def _parsed(content: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ScoringError("the model service did not send JSON") from error
    if not isinstance(body, dict):
        raise ScoringError("the model service did not send a JSON object")
    return body


def _scored(body: Mapping[str, Any]) -> ScoredPrompt:
    models, family = names_from_wire(body)
    data = body.get("data")
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], dict):
        raise ScoringError("the model service did not send a leaderboard")
    n_tokens = data[0].get("n_tokens")
    board = board_from_wire(data[0], models, family)
    return ScoredPrompt(board, n_tokens if isinstance(n_tokens, int) else 0)


def _retry_after_s(answer: httpx.Response) -> float:
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() else 1.0
