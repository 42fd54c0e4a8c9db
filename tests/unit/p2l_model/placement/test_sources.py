from __future__ import annotations

import numpy as np
import pytest

from p2l_model.placement.sources import SOURCES, Scale, chained, linear, published


@pytest.mark.parametrize("scale", ["percent", "elo", "linear"])
def test_a_scale_is_read_and_written_alike(scale: Scale) -> None:
    for value in (3.0, 50.0, 97.0):
        assert published(scale, linear(scale, value)) == pytest.approx(value)


def test_no_source_has_more_than_twelve_topics_and_no_filter_is_one() -> None:
    for source in SOURCES:
        assert 1 <= len(source.topics) <= 12
        assert source.link.startswith("https://")
    assert not {"no_tie", "no_short", "no_refusal"} & {t for s in SOURCES for t in s.topics}


def test_releases_are_chained_onto_the_last() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    cells = np.array(
        [
            [1.0, 2.0, 3.0, np.nan, np.nan],
            [np.nan, 2.0, 3.0, 4.0, np.nan],
            [np.nan, np.nan, 3.0, 4.0, 5.0],
        ]
    )
    level = np.array([2.0, 1.0, 0.0])
    found = chained(cells + level[:, None])
    assert found == pytest.approx(truth, abs=1e-3)
    assert np.isnan(chained(np.full((2, 1), np.nan))).all()
