"""What each model's provider can express of a request, and which part of it is sent there."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.catalog import ModelCard
from server.adapting.alike import alike
from server.adapting.thinking import effort_named
from server.model_facts import Effort, ModelFacts
from server.surfaces.base import GatewayRequest
from server.surfaces.effort import effort_in, effort_of, is_sent, with_effort
from server.upstream.base import Fit, Upstream

_ANYTHING = Fit()
# The names under which an effort is reported as left out.
_EFFORTS = frozenset({"output_config.effort", "reasoning", "reasoning.effort", "thinking"})


@dataclass(slots=True)
class Fitting:
    """Fits requests to models. upstreams: by provider name; where one is missing (a dry decision),
    its models count as able to express everything. facts: what is known about each model, by
    catalogue name."""

    upstreams: Mapping[str, Upstream]
    facts: Mapping[str, ModelFacts]
    _rules_of: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._rules_of = alike(self.facts)

    def fits(
        self,
        request: GatewayRequest,
        cards: Sequence[ModelCard],
        *,
        bounded: bool,
        effort: Effort | None = None,
        ruled_out: Container[str] = (),
    ) -> dict[str, Fit]:
        """The fit of each card by catalogue name, computed once for models that are alike here.

        bounded: see GatewayRequest.fit. effort: pins that of every model without columns; None:
        such models get what the caller asks for. ruled_out: columns that will not be asked, which
        need no look at the request.
        """
        fits: dict[str, Fit] = {}
        known: dict[Hashable, Fit] = {}
        for card in cards:
            upstream = self.upstreams.get(card.provider)
            if effort is not None or card.effort is not None:
                fits[card.name] = _ANYTHING
                if card.name not in ruled_out:
                    fits[card.name] = self._at_effort(request, card, effort, bounded, known)
                continue
            if upstream is None:
                fits[card.name] = _ANYTHING
                continue
            kin = upstream.kin(request.body, card.upstream_model)
            kind = card.provider, self._rules_of.get(card.name), kin
            if kind not in known:
                facts = self.facts.get(card.name)
                known[kind] = request.fit(
                    upstream, card.upstream_model, bounded=bounded, facts=facts
                )
            fits[card.name] = known[kind]
        return fits

    def _at_effort(
        self,
        request: GatewayRequest,
        card: ModelCard,
        pinned: Effort | None,
        bounded: bool,
        known: dict[Hashable, Fit],
    ) -> Fit:
        """The fit of a request whose effort is set here. pinned: for a card that is no column.
        known: the fits so far."""
        upstream, facts = self.upstreams.get(card.provider), self.facts.get(card.name)
        effort = pinned if card.effort is None else effort_named(card.effort)
        if effort is None or upstream is None:
            return Fit(effort=effort)
        asked = with_effort(request, effort, facts)
        kin = upstream.kin(asked.body, card.upstream_model)
        kind = card.provider, self._rules_of.get(card.name), kin, effort
        if kind not in known:
            fit = asked.fit(upstream, card.upstream_model, bounded=bounded, facts=facts)
            known[kind] = _at(effort, asked, request, upstream, fit)
        return known[kind]


def _at(
    effort: str, asked: GatewayRequest, request: GatewayRequest, upstream: Upstream, fit: Fit
) -> Fit:
    """The fit of a request whose effort is set here. asked: the request at this effort; its body is
    sent in place of the caller's own."""
    native = asked.native if upstream.speaks(asked.surface) else None
    body = (asked.body if native is None else native) if fit.body is None else fit.body
    # The caller's own words for it may be a turn of the conversation, or the API's default.
    is_own = native is not None and asked is request and effort_of(request) == effort
    is_own = is_own and _EFFORTS.isdisjoint(fit.left_out)
    sent = effort if is_own or is_sent(effort, body) else effort_in(body)
    return replace(fit, body=fit.body if asked is request else body, effort=sent)
