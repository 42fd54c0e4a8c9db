"""Every fault that a provider is known to have, and what the contract promises for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from fake_provider import Behaviour, Fault

TEXTS = ("one ", "two ", "three ", "four")
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


class Promise(Enum):
    """What the caller gets of a model with the fault."""

    ANSWERED = "answered"  # the fault does no harm
    FAILOVER = "another model"  # nothing was sent to the caller yet: another model answers
    BROKEN = "error event"  # too late for another: the stream ends with an error event
    PASSED = "its 4xx"  # the caller's own mistake: the provider's verdict is his


@dataclass(frozen=True)
class Case:
    """whole, stream: what is promised. last: the answer when every model has the fault.
    provider: a provider of the configuration that is broken itself, instead of a behaviour.
    billed: what the ledger says of the attempt that failed: none, estimate or usage.
    """

    name: str
    behaviour: Behaviour = field(default_factory=Behaviour)
    whole: Promise = Promise.FAILOVER
    stream: Promise = Promise.FAILOVER
    last: str = "502 upstream_error"
    provider: str = "main"
    billed: str = "none"
    billed_stream: str | None = None


def _of(name: str, **fields: object) -> Case:
    return Case(name, **fields)  # type: ignore[arg-type]


_LATE = {"last": "504 upstream_timeout", "billed": "estimate"}
_HARMLESS = {"whole": Promise.ANSWERED, "stream": Promise.ANSWERED, "billed": "usage"}
_RETRY = {"retry-after": "1"}


def _mid(name: str, fault: Fault, **fields: object) -> Case:
    """A fault after the second event; not streamed, half way through the body."""
    behaviour = Behaviour(texts=TEXTS, fault=fault, fault_after=2)
    rest = {"stream": Promise.BROKEN, "billed_stream": "estimate", **fields}
    return _of(name, behaviour=behaviour, **rest)


def _status(status: int, **fields: object) -> Case:
    retry = fields.pop("retry", False)
    behaviour = Behaviour(status=status, headers=_RETRY if retry else {})
    return _of(f"{status}{' with Retry-After' if retry else ''}", behaviour=behaviour, **fields)


_PASSED = {"whole": Promise.PASSED, "stream": Promise.PASSED}

CASES: tuple[Case, ...] = (
    # the network
    _of("connection refused", provider="refused"),
    _of("name not found (DNS)", provider="nameless"),
    _of("TLS: no TLS is spoken", provider="plain"),
    _of("TLS: unknown certificate", provider="untrusted"),
    _of("nobody accepts the connection", provider="deaf", **(_LATE | {"billed": "none"})),
    # before the first byte
    _of("no answer", behaviour=Behaviour(first_delay_s=60), **_LATE),
    _of("reset instead of an answer", behaviour=Behaviour(head_fault=Fault.RESET)),
    _of("closed half way through the head", behaviour=Behaviour(head_fault=Fault.CUT)),
    _of(
        "silence half way through the head", behaviour=Behaviour(head_fault=Fault.SILENCE), **_LATE
    ),
    _of("head byte by byte, too slowly", behaviour=Behaviour(head_drip_s=0.05), **_LATE),
    _of(
        "body byte by byte",
        behaviour=Behaviour(byte_by_byte=True, texts=TEXTS),
        **_HARMLESS,
    ),
    _of(
        "head, then silence",
        behaviour=Behaviour(texts=TEXTS, fault=Fault.SILENCE, fault_after=0),
        **_LATE,
    ),
    _of("head, then closed", behaviour=Behaviour(texts=TEXTS, fault=Fault.CUT, fault_after=0)),
    _of(
        "head, then keep-alives for ever",
        stream=Promise.FAILOVER,
        whole=Promise.ANSWERED,
        behaviour=Behaviour(texts=TEXTS, keep_alives=999, chunk_delay_s=0.02),
        billed="usage",
        billed_stream="estimate",
        last="504 upstream_timeout",
    ),
    # within the answer
    _mid("stalls half way", Fault.SILENCE, last="504 upstream_timeout", billed="estimate"),
    _mid("reset half way", Fault.RESET),
    _mid("closed between two chunks", Fault.CUT),
    _mid("closed within a chunk", Fault.TORN),
    _mid("ends early, politely", Fault.END),
    _mid("an event that is no JSON", Fault.MALFORMED),
    _mid("an error event", Fault.ERROR),
    _of(
        "never ends",
        behaviour=Behaviour(repeat=0, chunk_delay_s=0.01, texts=TEXTS),
        stream=Promise.BROKEN,
        whole=Promise.ANSWERED,
        billed="usage",
        billed_stream="estimate",
    ),
    # answers that are none
    _of("no JSON", behaviour=Behaviour(garbage=b"<html>busy</html>"), billed="estimate"),
    _of(
        "wrong content type",
        behaviour=Behaviour(texts=TEXTS, content_type="text/html"),
        billed="estimate",
    ),
    _of(
        "200 with an error inside",
        behaviour=Behaviour(error={"message": "out of memory"}),
        billed="estimate",
    ),
    # wrong, but an answer
    _of("each chunk sent twice", behaviour=Behaviour(texts=TEXTS, repeat=2), **_HARMLESS),
    _of(
        "no usage",
        behaviour=Behaviour(texts=TEXTS, omit_usage=True),
        **(_HARMLESS | {"billed": "estimate"}),
    ),
    _of(
        "negative usage",
        behaviour=Behaviour(texts=TEXTS, usage={"prompt_tokens": -5, "completion_tokens": -1}),
        **(_HARMLESS | {"billed": "estimate"}),
    ),
    _of(
        "usage that is no number",
        behaviour=Behaviour(texts=TEXTS, usage={"prompt_tokens": "ten", "completion_tokens": None}),
        **(_HARMLESS | {"billed": "estimate"}),
    ),
    _of("no [DONE]", behaviour=Behaviour(texts=TEXTS, send_done=False), **_HARMLESS),
    # statuses
    _status(302),
    *(_status(status, **_PASSED, last=f"{status} its own") for status in (400, 413, 422)),
    *(_status(status) for status in (401, 403, 408, 409)),
    _of(
        "404 for the model",
        behaviour=Behaviour(
            status=404, error={"message": "no such model", "code": "model_not_found"}
        ),
    ),
    _status(429, last="429 rate_limit_exceeded"),
    _status(429, retry=True, last="429 rate_limit_exceeded"),
    *(_status(status) for status in (500, 502, 503, 529)),
    _status(503, retry=True),
)
