"""A provider that speaks OpenAI's wire format over a real socket and fails as told.

    with FakeProvider() as provider:
        provider.script("model-x", Behaviour(status=429, headers={"retry-after": "7"}))
        ...  # requests to provider.base_url
        provider.requests[0].body

It is a bare asyncio server in a thread of its own, since what is to be tried are the failures
that a web framework would not let happen: resets, cut chunks, silence.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

ANY_MODEL = "*"
_CHAT = "/v1/chat/completions"
_MODELS = "/v1/models"
OTHER_SURFACES = (
    "/v1/responses",
    "/v1/responses/compact",
    "/v1/completions",
    "/v1/embeddings",
)
_POLL_S = 0.005


class Fault(Enum):
    """How an answer goes wrong, after `fault_after` events (or before the body, for 0)."""

    CUT = auto()  # the connection is closed in the middle of the answer
    RESET = auto()  # the same, with a TCP reset
    END = auto()  # the answer ends properly, only too early: no finish_reason, no [DONE]
    SILENCE = auto()  # nothing more is sent, the connection stays open
    MALFORMED = auto()  # an event that is not JSON, then [DONE]
    ERROR = auto()  # an error event, then [DONE]
    TORN = auto()  # the connection is closed in the middle of a chunk


@dataclass(frozen=True)
class Behaviour:
    """What the provider does with a request; the default is a good answer."""

    texts: tuple[str, ...] | None = None  # one delta each; one completion token each
    deltas: tuple[dict[str, Any], ...] = ()  # raw deltas instead, e.g. of tool calls
    blocks: tuple[dict[str, Any], ...] = ()  # the answer in another dialect's own parts
    answer: dict[str, Any] | None = None  # the whole answer, as recorded
    events: tuple[dict[str, Any], ...] = ()  # the streamed answer, as recorded
    message: dict[str, Any] | None = None  # what deltas amount to when not streamed
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = None  # instead of the counted one
    omit_usage: bool = False
    service_tier: str | None = None  # in which it was served, where it says so
    model: str | None = None  # that answers in place of the one asked for
    status: int = 200
    error: dict[str, Any] | None = None  # the error object; with status 200 an error in disguise
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None
    garbage: bytes | None = None  # a body that is no JSON
    first_delay_s: float = 0.0  # before the head of the answer
    head_delay_s: float = 0.0  # between the head and the first event
    chunk_delay_s: float = 0.0
    head_fault: Fault | None = None  # CUT, RESET or SILENCE half way through the head
    head_drip_s: float = 0.0  # after each byte of the head
    fault: Fault | None = None
    fault_after: int = 0
    repeat: int = 1  # how often each event with text is sent; 0: without end
    send_done: bool = True
    keep_alives: int = 0  # comments before each event, chunk_delay_s (if any) before each
    byte_by_byte: bool = False
    line_end: str = "\n"


@dataclass
class Recorded:
    """A request as it arrived, and what became of its answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    connection: int
    finished: bool = False
    aborted: bool = False  # the client hung up before the end
    over: threading.Event = field(default_factory=threading.Event)

    def close(self, *, finished: bool) -> None:
        self.finished, self.aborted = finished, not finished
        self.over.set()


GOOD = Behaviour()
NOT_HERE = Behaviour(status=404, garbage=b"<html>not here</html>", content_type="text/html")


class HungUpError(Exception):
    """The client has closed the connection."""


class EndOfConnectionError(Exception):
    """The script says to close the connection here."""


async def _rounds() -> None:
    """What the loop has begun takes a few rounds of it."""
    for _ in range(5):
        await asyncio.sleep(0)


class FakeProvider:
    """models: the names it has (others are 404 model_not_found); None: any.
    api_key: what it wants as a bearer token; None: anything. tls: speaks HTTPS by it.

    served: model -> tokens of all finished answers, "prompt" and "completion" and "requests".
    """

    def __init__(
        self,
        models: tuple[str, ...] | None = None,
        api_key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.models = models
        self.api_key = api_key
        self._tls = tls
        self.requests: list[Recorded] = []
        self.served: dict[str, Counter[str]] = {}
        self._scripts: dict[str, list[Behaviour]] = {}
        # decides for every request instead of the scripts
        self.choose: Callable[[str], Behaviour] | None = None
        self.n_connections = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._ready = threading.Event()
        self.port = 0

    def script(self, model: str, *behaviours: Behaviour) -> None:
        """What to do with the model's next requests, in turn; the last one stays."""
        self._scripts[model] = list(behaviours)

    @property
    def base_url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[Recorded]:
        """The requests for an answer only."""
        return [request for request in self.requests if request.path == _CHAT]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake provider did not start")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await _rounds()  # one that has just come gets its task: a closed server has none
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()
        await _rounds()  # for transports that have just been closed

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        task = asyncio.create_task(self._serve(reader, writer, self.n_connections))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # one that is cancelled before it has begun has closed nothing itself
        task.add_done_callback(lambda _: writer.close())

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        try:
            while (request := await _read_request(reader, connection)) is not None:
                self.requests.append(request)
                await self._answer(request, reader, writer)
        except (EndOfConnectionError, HungUpError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            behaviour = self._behaviour(request)
            wire = Wire(reader, writer, behaviour)
            await self._respond(request, behaviour, wire)
        except BaseException as error:
            # a fault of our own is an answer given as told; anything else is the client's doing
            request.close(finished=isinstance(error, EndOfConnectionError))
            raise
        self._count(request.body, behaviour)
        request.close(finished=True)

    async def _respond(self, request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
        if request.path == _MODELS and behaviour.status == 200:
            await wire.send_json(self._model_list())
        elif request.path in OTHER_SURFACES and behaviour.status == 200:
            await _other_surface(request, behaviour, wire)
        else:
            await _chat(request.body or {}, behaviour, wire)

    def _behaviour(self, request: Recorded) -> Behaviour:
        if self.api_key is not None and request.headers.get("authorization") != (
            f"Bearer {self.api_key}"
        ):
            return Behaviour(status=401, error={"message": "wrong key", "code": "invalid_api_key"})
        if request.path == _MODELS:
            return Behaviour()
        if request.path not in (_CHAT, *OTHER_SURFACES):
            return NOT_HERE
        model = request.body.get("model") if isinstance(request.body, dict) else None
        if self.models is not None and model not in self.models:
            error = {"message": f"The model {model} does not exist", "code": "model_not_found"}
            return Behaviour(status=404, error=error)
        return self._scripted(str(model))

    def _scripted(self, model: str) -> Behaviour:
        if self.choose is not None:
            return self.choose(model)
        queue = self._scripts.get(model) or self._scripts.get(ANY_MODEL) or [Behaviour()]
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def _model_list(self) -> dict[str, Any]:
        data = [{"id": name, "object": "model", "created": 0} for name in self.models or ()]
        return {"object": "list", "data": data}

    def _count(self, body: Any, behaviour: Behaviour) -> None:
        if not isinstance(body, dict) or behaviour.status != 200:
            return
        if behaviour.answer is not None or behaviour.events:
            return
        usage = _usage(body, behaviour)
        if not all(
            isinstance(usage.get(name), int) for name in ("prompt_tokens", "completion_tokens")
        ):
            return
        self.served.setdefault(str(body.get("model")), Counter()).update(
            requests=1, prompt=usage["prompt_tokens"], completion=usage["completion_tokens"]
        )


class Wire:
    """Writes one answer as its behaviour wants it, and notices a client that hangs up."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behaviour: Behaviour
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._behaviour = behaviour

    async def pause(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        self._check()
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(_POLL_S, left))
            self._check()

    async def send_json(self, body: dict[str, Any]) -> None:
        await self.send_whole(json.dumps(body).encode(), "application/json")

    async def send_whole(self, content: bytes, content_type: str) -> None:
        await self.head(content_type, f"content-length: {len(content)}")
        if self._behaviour.fault is not None:
            await self._write(content[: len(content) // 2])
            await self.fail()
        await self._write(content)

    async def head(self, content_type: str, framing: str) -> None:
        behaviour = self._behaviour
        await self.pause(behaviour.first_delay_s)
        lines = [f"HTTP/1.1 {behaviour.status} Scripted", framing]
        lines.append(f"content-type: {behaviour.content_type or content_type}")
        lines += [f"{name}: {value}" for name, value in behaviour.headers.items()]
        await self._write_head("\r\n".join([*lines, "", ""]).encode())

    async def _write_head(self, head: bytes) -> None:
        if self._behaviour.head_fault is not None:
            await self._write(head[: len(head) // 2])
            await self.fail(self._behaviour.head_fault)
        if self._behaviour.head_drip_s == 0:
            await self._write(head)
            return
        for index in range(len(head)):
            await self._write(head[index : index + 1])
            await self.pause(self._behaviour.head_drip_s)

    async def torn_chunk(self, content: bytes) -> None:
        await self._write(f"{len(content):x}\r\n".encode() + content[: len(content) // 2])

    async def event(self, payload: bytes, name: str = "") -> None:
        end = self._behaviour.line_end.encode()
        for _ in range(self._behaviour.keep_alives):
            await self.chunk(b": still here" + end + end)
            await self.pause(self._behaviour.chunk_delay_s)
        named = f"event: {name}".encode() + end if name else b""
        await self.chunk(named + b"data: " + payload + end + end)
        await self.pause(self._behaviour.chunk_delay_s)

    async def chunk(self, content: bytes) -> None:
        pieces = [content[i : i + 1] for i in range(len(content))]
        for piece in pieces if self._behaviour.byte_by_byte else [content]:
            await self._write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    async def end(self) -> None:
        await self._write(b"0\r\n\r\n")

    async def fail(self, fault: Fault | None = None) -> None:
        """Does what the fault (the behaviour's) says to the connection."""
        fault = fault or self._behaviour.fault
        if fault is Fault.SILENCE:
            await self.pause(math.inf)
        if fault is Fault.RESET:
            linger = struct.pack("ii", 1, 0)
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise EndOfConnectionError

    async def _write(self, content: bytes) -> None:
        self._check()
        self._writer.write(content)
        await self._writer.drain()

    def _check(self) -> None:
        gone = self._reader.at_eof() or self._reader.exception() is not None
        if gone or self._writer.is_closing():
            raise HungUpError


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Recorded | None:
    request_line = await reader.readline()
    if not request_line:
        return None
    try:
        method, path, _ = request_line.decode().split(" ", 2)
    except ValueError:
        return None  # no HTTP: somebody tries TLS
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return Recorded(method, path, headers, json.loads(content) if content else None, connection)


async def _chat(body: dict[str, Any], behaviour: Behaviour, wire: Wire) -> None:
    if behaviour.fault is Fault.RESET and behaviour.fault_after == 0:
        await wire.fail()
    if behaviour.garbage is not None:
        await wire.send_whole(behaviour.garbage, "application/json")
    elif behaviour.status != 200 or (behaviour.error and behaviour.fault is not Fault.ERROR):
        await wire.send_json({"error": behaviour.error or {"message": "scripted", "code": None}})
    elif body.get("stream"):
        await _stream(body, behaviour, wire)
    else:
        await wire.send_json(_completion(body, behaviour))


async def _other_surface(request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
    """Completions and embeddings as the API answers them; responses as they are scripted."""
    body = request.body
    if behaviour.events and body.get("stream"):
        await wire.head("text/event-stream", "transfer-encoding: chunked")
        for event in behaviour.events:
            await wire.event(json.dumps(event).encode(), event.get("type", ""))
        if "completions" in request.path:
            await wire.event(b"[DONE]")
        await wire.end()
    elif behaviour.answer is not None:
        await wire.send_json(behaviour.answer)
    elif request.path == "/v1/embeddings":
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [
            {"object": "embedding", "index": i, "embedding": [0.1, 0.2]} for i in range(len(inputs))
        ]
        usage = behaviour.usage or {"prompt_tokens": 7, "total_tokens": 7}
        answer = {"object": "list", "data": data, "model": body["model"], "usage": usage}
        await wire.send_json(answer)
    else:
        choice = {"index": 0, "text": " world", "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        await wire.send_json(
            {**_head(body, "text_completion"), "choices": [choice], "usage": usage}
        )


async def _stream(body: dict[str, Any], behaviour: Behaviour, wire: Wire) -> None:
    await wire.head("text/event-stream; charset=utf-8", "transfer-encoding: chunked")
    await wire.pause(behaviour.head_delay_s)
    fault = behaviour.fault
    for n_sent, chunk in enumerate(_chunks(body, behaviour)):
        if fault is not None and n_sent == behaviour.fault_after:
            break
        payload = json.dumps(chunk, ensure_ascii=False).encode()
        await wire.event(payload)
        has_text = bool(chunk["choices"] and chunk["choices"][0]["delta"].get("content"))
        if has_text:
            repeats = itertools.count() if behaviour.repeat == 0 else range(behaviour.repeat - 1)
            for _ in repeats:
                await wire.event(payload)
    if fault is Fault.TORN:
        await wire.torn_chunk(b'data: {"choices": []}')
    if fault in (Fault.CUT, Fault.RESET, Fault.SILENCE, Fault.TORN):
        await wire.fail()
    if fault is Fault.MALFORMED:
        await wire.event(b'{"choices": [{"ind')
    if fault is Fault.ERROR:
        await wire.event(json.dumps({"error": behaviour.error or {"message": "oh"}}).encode())
    if behaviour.send_done and fault is not Fault.END:
        await wire.event(b"[DONE]")
    await wire.end()


def _chunks(body: dict[str, Any], behaviour: Behaviour) -> Iterator[dict[str, Any]]:
    options = body.get("stream_options") or {}
    with_usage = bool(options.get("include_usage")) and not behaviour.omit_usage
    head = (
        _head(body, "chat.completion.chunk", behaviour)
        | _tier(behaviour)
        | ({"usage": None} if with_usage else {})
    )
    for index in range(_n(body)):
        steps = [{"role": "assistant", "content": ""}, *_deltas(body, behaviour), {}]
        for delta in steps:
            reason = None if delta else _finish_reason(body, behaviour)
            yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
    if with_usage:
        yield {**head, "choices": [], "usage": _usage(body, behaviour)}


def _completion(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    message = behaviour.message or {"content": "".join(_texts(body, behaviour))}
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", **message},
            "finish_reason": _finish_reason(body, behaviour),
        }
        for index in range(_n(body))
    ]
    usage = {} if behaviour.omit_usage else {"usage": _usage(body, behaviour)}
    return {
        **_head(body, "chat.completion", behaviour),
        **_tier(behaviour),
        "choices": choices,
        **usage,
    }


def _head(body: dict[str, Any], kind: str, behaviour: Behaviour = GOOD) -> dict[str, Any]:
    model = behaviour.model or body.get("model")
    return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": model}


def _tier(behaviour: Behaviour) -> dict[str, Any]:
    return {} if behaviour.service_tier is None else {"service_tier": behaviour.service_tier}


def _n(body: dict[str, Any]) -> int:
    return int(body.get("n") or 1)


def _deltas(body: dict[str, Any], behaviour: Behaviour) -> tuple[dict[str, Any], ...]:
    return behaviour.deltas or tuple({"content": text} for text in _texts(body, behaviour))


def _texts(body: dict[str, Any], behaviour: Behaviour) -> tuple[str, ...]:
    texts = behaviour.texts
    if texts is None:
        texts = ("Hello", " from", f" {body.get('model')}")
    cap = body.get("max_completion_tokens", body.get("max_tokens"))
    return texts if cap is None else texts[:cap]


def _finish_reason(body: dict[str, Any], behaviour: Behaviour) -> str:
    full = 3 if behaviour.texts is None else len(behaviour.texts)
    capped = not behaviour.deltas and len(_texts(body, behaviour)) < full
    return "length" if capped else behaviour.finish_reason


def _usage(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    if behaviour.usage is not None:
        return behaviour.usage
    prompt_tokens = math.ceil(len(json.dumps(body.get("messages"))) / 4)
    completion_tokens = _n(body) * len(_deltas(body, behaviour))
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
