"""Finds the models that a request rules out, and why: by its own options, or because they cannot
serve it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from router.catalog import ModelCard
from server.auth.authenticator import Caller
from server.config.settings import RoutingRules
from server.errors import InvalidRequestError
from server.gateway.columns import Columns
from server.surfaces.base import GatewayRequest
from server.surfaces.routing_options import RoutingOptions
from server.upstream.base import Fit
from server.wire.surface import Surface


def excluded_by(
    options: RoutingOptions,
    cards: Sequence[ModelCard],
    fits: Mapping[str, Fit],
    columns: Columns,
    private: Collection[str],
) -> dict[str, str]:
    """The models that the request's own options rule out: catalogue name -> reason.

    columns: those of the catalogue; a model's name stands for all of them. private: names of the
    providers that are marked as private. Raises InvalidRequestError.
    """
    out: dict[str, str] = {}
    if options.strict_params:
        out = {
            name: f"p2l.strict_params: these parameters would be left out: "
            f"{', '.join(fit.left_out)}"
            for name, fit in fits.items()
            if fit.left_out
        }
    if options.exclude is not None:
        check_known(columns.names, options.exclude, options.named["exclude"])
        out |= dict.fromkeys(columns.expanded(options.exclude), "excluded by the request")
    if options.private:
        out |= {
            card.name: f"its provider {card.provider} is not marked private"
            for card in cards
            if card.provider not in private
        }
    return out


def allowed_by(
    options: RoutingOptions, rules: RoutingRules, caller: Caller, columns: Columns
) -> tuple[str, ...] | None:
    """The models that the request, the rules and the key all allow; None where none of them limits
    the models. columns: those of the catalogue; a model's name stands for all of them. Raises
    InvalidRequestError."""
    check_known(columns.names, options.models or (), options.named.get("models", "models"))
    allowed: set[str] | None = None
    for names in (options.models, rules.models, caller.models):
        if names is not None:
            own = set(columns.expanded(names))
            allowed = own if allowed is None else allowed & own
    return None if allowed is None else tuple(sorted(allowed))


def check_known(catalogue: Collection[str], names: Iterable[str], param: str) -> None:
    """Raises InvalidRequestError for the first name that is not in the catalogue. param: the field
    or header that the names come from."""
    for name in names:
        if name not in catalogue:
            raise InvalidRequestError(
                f"{param} names {name[:200]!r}, which is not in the catalogue.", param=param
            )


def cannot(
    fits: Mapping[str, Fit], request: GatewayRequest, *, pays_for_cap: bool
) -> dict[str, str]:
    """The models that cannot answer the request: catalogue name -> reason. pays_for_cap: whether
    the output cap bounds what the answer may cost."""
    excluded = {}
    cap = request.max_output_tokens
    for name, fit in fits.items():
        if fit.reason is not None:
            excluded[name] = fit.reason
        elif pays_for_cap and request.surface is Surface.COMPACT:
            excluded[name] = "a budget needs a limit of the output, and a compaction has none"
        elif pays_for_cap and cap is not None and cap < fit.least_output_tokens:
            # Otherwise more would be sent than is paid for.
            excluded[name] = f"its provider accepts no output limit under {fit.least_output_tokens}"
    return excluded


def check_payable(
    request: GatewayRequest, budget_usd: Decimal | None, named: Callable[[], Mapping[str, str]]
) -> None:
    """Raises InvalidRequestError for a budget that cannot be kept. named: where the budget was
    given."""
    if request.server_tools and budget_usd is not None:
        searches = request.native is None and request.body.get("web_search_options") is not None
        tools = "web_search_options" if searches else "tools"
        raise InvalidRequestError(
            f"{tools}: the cost of the provider's own tools is not known in advance, so no budget "
            f"can limit it. Leave out {named().get('budget_usd', 'the budget')} or these tools.",
            param=tools,
        )


def check_routable(request: GatewayRequest) -> None:
    """Raises InvalidRequestError for a request that can only go to a model asked for by name."""
    if request.surface in (Surface.COMPLETIONS, Surface.EMBEDDINGS):
        raise InvalidRequestError(
            f"/v1/{request.surface} is not routed: name a model of GET /v1/models.", param="model"
        )
