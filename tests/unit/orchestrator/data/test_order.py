"""The order of samples: each once an epoch, few row groups open at a time, the same from wherever it is read."""

import tracemalloc

import numpy as np
import pytest

from orchestrator.data.order import WINDOW_GROUPS, ordered


def whole(seed: int, epoch: int, sizes: tuple[int, ...], stream: int = 0) -> np.ndarray:
    within = np.arange(sum(sizes))
    return ordered(seed, np.full_like(within, epoch), within, stream, sizes)


@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_is_a_permutation_within_windows(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in random.integers(1, 30, int(random.integers(1, 40))))
    for epoch in range(3):
        order = whole(seed, epoch, sizes)
        assert sorted(order.tolist()) == list(range(sum(sizes)))
        group_of = np.repeat(np.arange(len(sizes)), sizes)[order]
        last_seen = {g: np.flatnonzero(group_of == g)[[0, -1]] for g in range(len(sizes))}
        open_at = [sum(a <= p <= b for a, b in last_seen.values()) for p in range(len(order))]
        assert max(open_at) <= WINDOW_GROUPS
    if sum(sizes) > 20:
        others = [whole(seed, 1, sizes), whole(seed + 1, 0, sizes), whole(seed, 0, sizes, stream=1)]
        assert not any(np.array_equal(whole(seed, 0, sizes), other) for other in others)


def test_places_of_several_epochs_are_read_in_any_order() -> None:
    sizes = (7, 3, 5, 9) * 6
    total = sum(sizes)
    epochs, within = np.divmod(np.random.default_rng(0).permutation(3 * total), total)
    found = ordered(4, epochs, within, 0, sizes)
    assert found.tolist() == [int(whole(4, epoch, sizes)[place]) for epoch, place in zip(epochs, within, strict=True)]


def test_memory_does_not_grow_with_the_images() -> None:
    """A million images in groups of 256; their order alone would take 8 MiB."""
    sizes = (256,) * 4096
    within = np.arange(1000, 1256)
    tracemalloc.start()
    ordered(9, np.zeros_like(within), within, 0, sizes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
