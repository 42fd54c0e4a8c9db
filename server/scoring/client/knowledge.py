"""What a gateway knows about its model services: the model names, and the fallback leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from p2l_model.errors import ScoringError
from p2l_model.types import PromptLeaderboard
from server.scoring.service.wire import board_from_wire, names_from_wire
from server.upstream.proxies import ProxyUnusableError
from server.upstream.transport import blocking_client
from server.upstream.trust import TrustUnusableError

_NOT_FOUND: Final = 404
_CHECKPOINT: Final = "/v1/checkpoint"
_SCORE: Final = "/v1/score"
_EMPTY: Final = orjson.dumps({"conversations": [[{"role": "user", "content": ""}]]})
# At the start of a gateway: available services answer within milliseconds.
_START_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The knowledge about a service. models: the leaderboard's names. marginal: the leaderboard of
    no prompt in particular. scored: the models for which it predicts graded scores; None where the
    service does not say."""

    models: tuple[str, ...]
    marginal: PromptLeaderboard
    scored: frozenset[str] | None = None


async def knowledge_of(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> Knowledge:
    """Reads it from a service; a service without /v1/checkpoint is asked for the empty prompt's
    leaderboard.

    Raises ScoringError, httpx.HTTPError.
    """
    answer = await client.get(url + _CHECKPOINT, headers=headers)
    if answer.status_code != _NOT_FOUND:
        return _of_checkpoint(answer)
    return _of_score(await client.post(url + _SCORE, headers=headers, content=_EMPTY))


def ask_once(urls: Sequence[str], headers: dict[str, str]) -> Knowledge | None:
    """`knowledge_of` the first service that answers, for use before there is an event loop."""
    for url in urls:
        base = url.rstrip("/")
        try:
            with blocking_client(base, headers=headers, timeout=_START_S) as client:
                answer = client.get(base + _CHECKPOINT)
                if answer.status_code != _NOT_FOUND:
                    return _of_checkpoint(answer)
                return _of_score(client.post(base + _SCORE, content=_EMPTY))
        except (ScoringError, httpx.HTTPError, ProxyUnusableError, TrustUnusableError):
            continue
    return None


def knowledge_from_checkpoint(path: Path) -> Knowledge:
    """Reads it from the folder that the services also serve. Raises CheckpointError."""
    from p2l_model.checkpoint.folder import load_checkpoint

    checkpoint = load_checkpoint(path)
    manifest = checkpoint.manifest
    return Knowledge(tuple(manifest.models), checkpoint.marginal, manifest.scored_models)


def _of_checkpoint(answer: httpx.Response) -> Knowledge:
    body = _body(answer)
    known = _knowledge(body, body.get("marginal"))
    scored = body.get("scored")
    if not isinstance(scored, list):
        return known
    return replace(known, scored=frozenset(name for name in scored if isinstance(name, str)))


def _of_score(answer: httpx.Response) -> Knowledge:
    body = _body(answer)
    data = body.get("data")
    return _knowledge(body, data[0] if isinstance(data, list) and data else None)


def _knowledge(body: dict[str, Any], board: object) -> Knowledge:
    models, family = names_from_wire(body)
    return Knowledge(models, board_from_wire(board, models, family))


def _body(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise ScoringError(f"the model service answered with status {answer.status_code}")
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise ScoringError("the model service did not send JSON") from error
    if not isinstance(body, dict):
        raise ScoringError("the model service did not send a JSON object")
    return body
