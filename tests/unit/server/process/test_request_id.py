"""Random numbers from a block are as good as the system's own."""

from __future__ import annotations

import time

from server.process.request_id import Entropy


def test_numbers_are_within_their_bounds_and_never_the_same() -> None:
    entropy = Entropy()
    seeds = [entropy.getrandbits(63) for _ in range(2000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) > 2**62 > min(seeds)
    assert {entropy.getrandbits(1) for _ in range(100)} == {0, 1}
    assert entropy.getrandbits(0) == 0
    chances = [entropy.random() for _ in range(2000)]
    assert all(0.0 <= chance < 1.0 for chance in chances)
    assert 0.45 < sum(chances) / len(chances) < 0.55
    assert len(entropy.randbytes(10_000)) == 10_000


def test_ids_differ() -> None:
    entropy, other = Entropy(), Entropy()
    ids = {source.request_id() for source in (entropy, other) for _ in range(1000)}
    assert len(ids) == 2000
    assert {len(one) for one in ids} == {36}


def test_ids_are_in_the_order_of_their_time() -> None:
    entropy = Entropy()
    ids = []
    for _ in range(5):
        ids.append(entropy.request_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert abs(int(ids[-1][4:16], 16) / 1000 - time.time()) < 60
