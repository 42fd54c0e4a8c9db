"""A line of a file of recorded jobs: one request of a session, without any text.

docs/sessions.md has the table of the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from p2l_model.errors import DataError
from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard
from server.model_facts.types import Effort

VERSION: Final = 1
# A file holds names of models and keyed hashes; a longer text in it does not belong there.
_MOST_CHARS: Final = 200

Name = Annotated[str, Field(min_length=1, max_length=_MOST_CHARS)]
KeyedHash = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]
Tokens = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordedBoard(_Form):
    """A prompt's leaderboard by the names of its models, see PromptLeaderboard."""

    family: PreferenceFamily
    coefficients: dict[Name, Finite] = Field(min_length=1)
    eta: Finite | None = None
    gamma: Finite | None = None
    output_tokens: dict[Name, Finite] | None = None
    scores: dict[Name, Finite] | None = None

    def leaderboard(self) -> PromptLeaderboard:
        """The leaderboard in the form that the router reads."""
        names = tuple(self.coefficients)
        return PromptLeaderboard(
            self.family,
            names,
            np.array(list(self.coefficients.values()), dtype=np.float64),
            self.eta,
            self.gamma,
            _column(self.output_tokens, names),
            _column(self.scores, names),
        )


class JobRequest(_Form):
    """One request of a session.

    session, key: keyed hashes. branch: which conversation of the session it belongs to. began_s:
    when its session began, in seconds since the first session of the file. at_s: seconds since its
    session began. model: the catalogue name of the model that answered. routed: whether the gateway
    chose it. effort: the one that the request named; effort_sent: that which the provider was asked
    for. cached_tokens, cache_write_tokens,
    cache_write_1h_tokens: disjoint parts of input_tokens. thinking_tokens: a part of output_tokens.
    tool_loop: whether it brought results of calls. new_words: whether a person said something since
    the last answer. scored: whether its leaderboard was predicted
    for it. cost_usd: of all its attempts, None where a price is unknown. win_rate: of the model, as
    predicted. leaderboard: None where it is that of the branch's line before. needs: capabilities
    that it requires. max_output_tokens: the caller's own cap.
    """

    version: Literal[1] = 1
    session: KeyedHash
    key: KeyedHash
    branch: Annotated[int, Field(ge=0)] = 0
    began_s: Seconds
    at_s: Seconds
    model: Name
    routed: bool = True
    effort: Effort | None = None
    effort_sent: Effort | None = None
    input_tokens: Tokens
    cached_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    cache_write_1h_tokens: Tokens = 0
    output_tokens: Tokens
    thinking_tokens: Tokens = 0
    tool_loop: bool
    new_words: bool
    scored: bool
    attempts: Annotated[int, Field(ge=1)] = 1
    cost_usd: Usd | None
    budget_usd: Usd | None = None
    session_budget_usd: Usd | None = None
    win_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    needs: tuple[Annotated[str, Field(max_length=32)], ...] = ()
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    leaderboard: RecordedBoard | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        parts = self.cached_tokens + self.cache_write_tokens + self.cache_write_1h_tokens
        if parts > self.input_tokens:
            raise ValueError(
                "cached_tokens and the cache writes are parts of input_tokens, and together more"
            )
        if self.thinking_tokens > self.output_tokens:
            raise ValueError("thinking_tokens are a part of output_tokens, and more")
        return self

    def line(self) -> bytes:
        """The line of a file, without its end."""
        # The version is always written; what has its default is left out.
        told = self.model_dump_json(exclude_defaults=True)
        return b'{"version":%d,%s' % (VERSION, told.encode()[1:])


def read_jobs(
    path: Path, on_progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Iterator[JobRequest]:
    """Yields the requests of a file, one after the other. on_progress: (bytes read, bytes in all).
    Raises DataError, which names the line and the field."""
    try:
        size, read = path.stat().st_size, 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                read += len(line)
                if line.strip():
                    yield parse_line(line, f"{path}: line {number}")
                on_progress(read, size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def parse_line(line: bytes, where: str) -> JobRequest:
    """Parses a line. where: the file and the line, for errors. Raises DataError."""
    try:
        return JobRequest.model_validate_json(line)
    except ValidationError as error:
        raise DataError(f"{where}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    """The first error in words; never a value, since a wrong file may hold texts."""
    first: Any = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if field == "version":
        return f"version: only version {VERSION} of recorded jobs can be read"
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{field}: {said}" if field else said


def _column(values: dict[str, float] | None, names: tuple[str, ...]) -> FloatArray | None:
    if values is None:
        return None
    return np.array([values.get(name, np.nan) for name in names], dtype=np.float64)
