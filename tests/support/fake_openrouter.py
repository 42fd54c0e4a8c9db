"""OpenRouter over a real socket: it takes whatever a body asks it to take, and charges for it.

What its reference says is honoured: `models` are tried instead of `model`, plugins and searches
have fees, and the answer names the model that answered and states what it cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fake_provider import Behaviour, FakeProvider, Recorded, Wire

# USD for an answer, whatever its length.
CHARGED = {"openai/gpt-4o-mini": 0.00002, "openai/o1-pro": 0.12}
_FEES = {"plugins": 0.02, "web_search_options": 0.02}


class FakeOpenRouter(FakeProvider):
    """charged: USD of all its answers."""

    charged = 0.0

    async def _respond(self, request: Recorded, behaviour: Behaviour, wire: Wire) -> None:
        body = request.body
        model = next(iter(body.get("models") or [body["model"]]))
        cost = CHARGED[model] + sum(fee for name, fee in _FEES.items() if body.get(name))
        self.charged += cost
        usage: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        if behaviour.usage is None:
            behaviour = replace(behaviour, usage=usage | {"cost": cost}, model=model)
        await super()._respond(request, behaviour, wire)
