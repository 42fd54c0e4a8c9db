from __future__ import annotations

import numpy as np
import pytest

from p2l_model.placement.kernel import PARTS, Calendar, Item, covariance, parts, table

ITEMS = [
    Item("gpt-5", "low", 2025.6, (1.25, 10.0)),
    Item("gpt-5", "high", 2025.6, (1.25, 10.0)),
    Item("gpt-5-mini", "", 2025.6, (0.25, 2.0)),
    Item("qwen3-32b", "", 2025.3),
    Item("claude-opus-4-5", "none", 2025.8, (5.0, 25.0)),
    Item("unheard-of", ""),
]


def test_every_part_is_a_covariance() -> None:
    rows = table(ITEMS, Calendar(ITEMS))
    found = parts(rows, rows)
    assert tuple(found) == PARTS
    for name, part in found.items():
        assert part == pytest.approx(part.T), name
        assert np.linalg.eigvalsh(part).min() > -1e-9, name


def test_efforts_of_one_model_are_more_alike_than_models_of_one_family() -> None:
    rows = table(ITEMS, Calendar(ITEMS))
    total = covariance(rows, rows, dict.fromkeys(PARTS, 0.3))
    deviation = np.sqrt(np.diag(total))
    alike = total / np.outer(deviation, deviation)
    assert alike[0, 1] > alike[0, 2] > alike[0, 3]


def test_a_release_that_is_not_known_is_estimated_by_family_and_version() -> None:
    known = [Item(f"gpt-{version}", "", 2020.0 + version) for version in (3, 4, 5, 6)]
    calendar = Calendar([*known, Item("grok-4", "", 2025.5)])
    assert calendar.of(Item("gpt-3.5", "")) < calendar.of(Item("gpt-5.5", ""))
    assert calendar.of(Item("gpt-5.5", "", 2030.0)) == 2030.0
    assert 2022 < calendar.of(Item("nobody-knows", "")) < 2028
    assert 2022 < Calendar([]).of(Item("gpt-4", "")) < 2028
