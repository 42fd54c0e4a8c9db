"""Coverage-guided fuzzing (atheris) of what reads the bytes of strangers: bodies, routing options,
server-sent events. Only errors meant for the caller may come out.

    .venv-fuzz/bin/python fuzz/fuzz_parsers.py -max_total_time=60
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["server"]):
    from starlette.datastructures import Headers

    from server.errors import InvalidRequestError
    from server.surfaces.chat.request import parse_chat_request
    from server.surfaces.json_body import parse_body
    from server.surfaces.messages.request import parse_messages_request
    from server.surfaces.routing_options import parse_options
    from server.wire.sse import SseParser, SseTooLargeError


def one(data: bytes) -> None:
    """The first byte chooses the parser."""
    if not data:
        return
    choice, rest = data[0] % 4, data[1:]
    try:
        if choice == 0:
            _events(rest)
            return
        if choice == 1:
            name, _, value = rest.partition(b"\0")
            parse_options(Headers(raw=[(name.lower(), value), (b"x-cost-budget", value)]), {})
            return
        body = parse_body(rest)
        parse_options(Headers(raw=[]), body)
        parse_chat_request(body) if choice == 2 else parse_messages_request(body)
    except InvalidRequestError:
        pass


def _events(data: bytes) -> None:
    """Cut anywhere, the events are the same."""
    whole = SseParser(1 << 20)
    cut = SseParser(1 << 20)
    try:
        expected = whole.feed(data) + whole.flush()
        middle = len(data) // 2
        found = cut.feed(data[:middle]) + cut.feed(data[middle:]) + cut.flush()
    except SseTooLargeError:
        return
    if found != expected:
        raise AssertionError("the events depend on where the bytes were cut")


def main() -> None:
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
