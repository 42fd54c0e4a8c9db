from __future__ import annotations

import numpy as np
import pytest

from p2l_model.local.prior import DIFFICULTY, N_SHARED, SLOPE, components


def test_the_mixture_holds_both_views_of_the_checkpoint_at_every_scale() -> None:
    parts = components()
    assert len({(part.scale, part.spread) for part in parts}) * 2 == len(parts)
    for part in parts:
        assert part.mean.shape == part.variance.shape == (N_SHARED,)
        assert part.mean[SLOPE] == part.scale
        assert part.mean[DIFFICULTY] == 0.0
        assert part.head == 0.0


def test_where_prompts_have_axes_half_of_what_believes_the_checkpoint_has_heads() -> None:
    plain, parts = components(), components(2)
    assert [part.scale for part in parts[: len(plain)]] == [part.scale for part in plain]
    headed = [part for part in parts if part.head > 0]
    assert len(headed) == len(parts) - len(plain) == len(plain) / 2
    assert all(part.variance[DIFFICULTY] > 0 for part in headed)


def test_effects_of_models_share_what_is_unsure_of_their_places() -> None:
    part = components()[4]
    whole = part.effects(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert whole[0, 1] == pytest.approx(part.scale**2 * 0.5)
    assert whole[0, 0] == pytest.approx(part.scale**2 + part.spread**2)
