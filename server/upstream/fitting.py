"""Computes the Fit of a body: which part of it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from server.adapting.draft import Adapted
from server.upstream.asked import is_neutral
from server.upstream.base import Fit
from server.upstream.fields import Fields, trimmed

_FITS: Final = Fit()


def fit_of(body: Mapping[str, Any], fields: Fields | None) -> Fit:
    """The Fit of a body. fields: the fields that may be sent, None: all."""
    if fields is None:
        return _FITS
    left_out: dict[str, None] = {}
    kept = trimmed(body, fields, left_out)
    if kept is body:
        return _FITS
    named = [name for name in left_out if name not in body or not is_neutral(name, body[name])]
    return Fit(left_out=tuple(sorted(named)), body=kept)


def fit_adapted(body: Mapping[str, Any], adapted: Adapted, found: Fit) -> Fit:
    """The Fit of an adapted body. found: the Fit of the adapted body. body: as the caller sent
    it."""
    reason = found.reason or adapted.reason
    if adapted.body is body and reason is found.reason:
        return found
    return replace(
        found,
        reason=reason,
        left_out=tuple(sorted({*found.left_out, *adapted.left_out})),
        body=adapted.body if found.body is None else found.body,
    )


def body_of(found: Fit, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body that is sent for this Fit."""
    return body if found.body is None else found.body
