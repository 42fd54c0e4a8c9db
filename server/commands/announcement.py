"""What the gateway prints at its start: its address, its models, what is missing, and a command
that works."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from router.catalog import ModelCard
from server.config.defaults import is_sandbox_only, known_variables
from server.config.settings import Settings
from server.readiness import is_routed, readiness

_UNSPECIFIED: Final = ("0.0.0.0:", "[::]:")
_BODY: Final = '{"model":"p2l","messages":[{"role":"user","content":"Hello"}]}'


def announcement(
    settings: Settings,
    catalogue: Sequence[ModelCard],
    leaderboard: Sequence[str],
    address: str,
    missing_keys: Sequence[str] = (),
    ledger: str | None = None,
    *,
    needs_key: bool = False,
) -> str:
    """The text. address: host:port. missing_keys: variables that would add more providers. ledger:
    its location, where the configuration does not set it. needs_key: whether a key is stored, so
    that only callers with a key are answered."""
    url, where = _reached_at(address)
    lines = [f"p2l-router serves {url}/v1{where}", f"  dashboard: {url}/"]
    if ledger is not None:
        lines.append(f"  ledger: {ledger}")
    lines += _models(catalogue, leaderboard)
    ready = readiness(settings, catalogue, leaderboard)
    lines += [f"  warning: {warning}" for warning in ready.warnings]
    lines += [f"  note: {note}" for note in ready.notes]
    lines += [f"  NOT READY: {problem}" for problem in ready.problems]
    if missing_keys:
        lines.append(f"  for more models, set one of: {', '.join(missing_keys)}")
    if is_sandbox_only(settings):
        lines += _sandbox_notice()
    return "\n".join([*lines, f"  try: {_example(url, settings, needs_key=needs_key)}"])


def _models(catalogue: Sequence[ModelCard], leaderboard: Sequence[str]) -> Iterator[str]:
    routed = [card.name for card in catalogue if is_routed(card, leaderboard)]
    ended = [card.name for card in catalogue if card.retired is not None]
    others = [c.name for c in catalogue if c.retired is None and c.name not in routed]
    unpriced = [card.name for card in catalogue if card.prices is None]
    yield f"  models to choose from: {', '.join(routed) or 'none yet'}"
    if others:
        yield f"  used only when asked for by name, never chosen: {', '.join(others)}"
    if ended:
        yield f"  retired, and never used: {', '.join(ended)}"
    if unpriced:
        yield f"  never used under a budget, because their price is unknown: {', '.join(unpriced)}"


def _reached_at(address: str) -> tuple[str, str]:
    """Returns the URL on this machine, and a note where other machines can reach it too."""
    for unspecified in _UNSPECIFIED:
        if address.startswith(unspecified):
            here = f"http://127.0.0.1:{address.removeprefix(unspecified)}"
            return here, " (and on every other address of this machine)"
    return f"http://{address}", ""


def _sandbox_notice() -> list[str]:
    return [
        "  *** SANDBOX: no model answers. Decisions, prices and headers are real, but the text is "
        "not.",
        f"  *** For real answers set one of {', '.join(known_variables())}, and run "
        "`p2l-router init`.",
    ]


def _example(url: str, settings: Settings, *, needs_key: bool) -> str:
    return (
        f"curl -s {url}/v1/chat/completions {_key(settings, needs_key=needs_key)}"
        f"-H 'content-type: application/json' -H 'X-Cost-Budget: 0.002' -d {shlex.quote(_BODY)}"
    )


def _key(settings: Settings, *, needs_key: bool) -> str:
    """The key in the form of its variable, so that the command works in the gateway's
    environment."""
    keys = settings.auth.keys
    if not keys and not needs_key:
        return ""
    variable = next((key.key_env for key in keys if key.key_env is not None), None)
    return f'-H "Authorization: Bearer {"YOUR_KEY" if variable is None else f"${variable}"}" '
