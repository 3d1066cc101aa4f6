"""Keys that stand for chance, and sorting by them."""

import numpy as np

from orchestrator.data.keys import order_of


def test_sorting_looks_at_further_keys_where_the_first_are_equal() -> None:
    rng = np.random.default_rng(0)
    first, second, third = (rng.integers(0, 20, 500) for _ in range(3))
    keys = first.astype(np.uint64) << np.uint64(60)  # the upper ones of 64 bits
    found = order_of(keys, lambda i: (third[i], second[i]))
    assert found.tolist() == np.lexsort((third, second, keys)).tolist()
    few = np.array([7, 3, 3, 1], np.uint64)
    assert order_of(few, lambda i: (np.array([9, 1, 0, 9])[i],)).tolist() == [3, 2, 1, 0]
    assert order_of(few[:0], lambda i: ()).tolist() == []
