"""Which models a sum of money is enough for, where the user has named none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

_LEAST_MODELS: Final = 2


def affordable(
    models: Sequence[str],
    cost_usd: Mapping[str, Decimal],
    strength: Mapping[str, float],
    limit_usd: Decimal,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns (the models to ask, in their order, those that are left out).

    cost_usd: of one prompt; strength: by public facts. What all models cost together comes within
    limit_usd by leaving out, one after the other, the dearest model to which a stronger one is no
    dearer, and where there is none, the dearest of all; two are always kept. Then those come back,
    the strongest first, for which there is still money.
    """
    kept, out = list(models), list[str]()
    left_usd = limit_usd - sum(cost_usd.values(), Decimal(0))
    while len(kept) > _LEAST_MODELS and left_usd < 0:
        beaten = [name for name in kept if _is_beaten(name, kept, cost_usd, strength)]
        dearest = max(beaten or kept, key=lambda name: (cost_usd[name], name))
        kept.remove(dearest)
        out.append(dearest)
        left_usd += cost_usd[dearest]
    for name in sorted(out, key=lambda name: (-strength[name], name)):
        if cost_usd[name] <= left_usd:
            left_usd -= cost_usd[name]
            out.remove(name)
    return tuple(name for name in models if name not in out), tuple(out)


def _is_beaten(
    name: str,
    models: Sequence[str],
    cost_usd: Mapping[str, Decimal],
    strength: Mapping[str, float],
) -> bool:
    return any(
        cost_usd[other] <= cost_usd[name] and strength[other] > strength[name] for other in models
    )
