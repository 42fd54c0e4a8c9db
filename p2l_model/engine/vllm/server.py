"""vLLM servers as an engine: each batch goes to the least loaded one, over HTTP."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.engine.base import EngineLimits
from p2l_model.engine.options import EngineOptions
from p2l_model.engine.replicas import Replica, Replicas
from p2l_model.engine.vllm.launch import check_servable, max_model_len
from p2l_model.errors import CheckpointError, ScoringError

# vLLM forms its own batches; ours only save requests.
_BATCH_PROMPTS: Final = 16
_BATCH_TOKENS: Final = 8192
_PER_SERVER: Final = 8
# A stalled scheduler shows no other symptom, so a time limit is needed.
_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 1.0


class VllmServerEngine:
    """May be used by several threads. A batch that fails is tried once at each other server."""

    def __init__(
        self, checkpoint: Checkpoint, options: EngineOptions, *, start_timeout_s: float = 600.0
    ) -> None:
        """Waits until every server answers.

        Raises CheckpointError where one serves something else, or does not answer within
        start_timeout_s.
        """
        check_servable(checkpoint)
        self._width = checkpoint.heads.width
        self._replicas = Replicas(options.vllm_urls, time.monotonic)
        self._lock = threading.Lock()
        self._batch_tokens = options.batch_tokens or _BATCH_TOKENS
        self._client = httpx.Client(trust_env=False, timeout=_TIMEOUT_S)
        ends_s = time.monotonic() + start_timeout_s
        length = max_model_len(checkpoint)
        try:
            self._names = {r.url: self._served(r.url, length, ends_s) for r in self._replicas}
        except BaseException:
            self._client.close()
            raise

    def _served(self, url: str, length: int, ends_s: float) -> str:
        """The name under which a server serves our model."""
        while True:
            try:
                answer = self._client.get(f"{url}/v1/models")
                if answer.is_success:
                    break
            except httpx.HTTPError:
                pass
            if time.monotonic() > ends_s:
                raise CheckpointError(f"{url}: no vLLM server answers there")
            time.sleep(_POLL_S)
        card: dict[str, Any] = answer.json()["data"][0]
        if int(card.get("max_model_len") or length) < length:
            raise CheckpointError(
                f"{url}: its --max-model-len is {card['max_model_len']}: start it with {length}"
            )
        return str(card["id"])

    @property
    def limits(self) -> EngineLimits:
        """The limits: several small batches at a time."""
        n_servers = len(self._names)
        return EngineLimits(self._batch_tokens, _BATCH_PROMPTS, parallel=_PER_SERVER * n_servers)

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Features (B, F) of B prompts given as token ids. Raises ScoringError."""
        tried: list[Replica] = []
        while (replica := self._taken(tried)) is not None:
            tried.append(replica)
            try:
                rows = self._ask(replica, batch)
            except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
                self._give_back(replica, failed=True, gone=isinstance(error, httpx.ConnectError))
            except ScoringError:
                self._give_back(replica, failed=False)
                raise
            else:
                self._give_back(replica, failed=False)
                return rows
        raise ScoringError("no vLLM server answered")

    def _taken(self, tried: Sequence[Replica]) -> Replica | None:
        with self._lock:
            usable = self._replicas.usable(tried)
            if not usable:
                return None
            usable[0].in_flight += 1
            return usable[0]

    def _give_back(self, replica: Replica, *, failed: bool, gone: bool = False) -> None:
        with self._lock:
            replica.in_flight -= 1
            if failed:
                self._replicas.failed(replica, gone=gone)
            else:
                self._replicas.answered(replica)

    def _ask(self, replica: Replica, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        body = {
            "model": self._names[replica.url],
            "input": [list(ids) for ids in batch],
            "encoding_format": "base64",
        }
        answer = self._client.post(f"{replica.url}/pooling", json=body)
        if answer.is_client_error:
            raise ScoringError(f"vLLM refused a batch ({answer.status_code})")
        answer.raise_for_status()
        data = sorted(answer.json()["data"], key=lambda item: item["index"])
        rows = [np.frombuffer(base64.b64decode(item["data"]), dtype=np.float32) for item in data]
        features = np.stack(rows)
        if features.shape != (len(batch), self._width):
            raise ScoringError(
                f"vLLM sent rows of {features.shape[-1]} numbers where the heads take {self._width}"
            )
        return features

    def warm_up(self) -> None:
        """Lets each server score one prompt. Raises CheckpointError where it serves another
        model."""
        for replica in self._replicas:
            try:
                self._ask(replica, [[0] * 8])
            except (httpx.HTTPError, ScoringError, KeyError, ValueError) as error:
                raise CheckpointError(f"{replica.url}: {error}") from error

    def close(self) -> None:
        """Closes the connections; the servers keep running."""
        self._client.close()
