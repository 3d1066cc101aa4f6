"""Explicit randomness: every generator is a pure function of a seed and what it is for.

Why here: a resumed search must draw what an uninterrupted one would have drawn, on any rank.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def generator(*key: int | str | float) -> torch.Generator:
    """Return a CPU generator keyed by its arguments, for instance `generator(seed, "path", step)`."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def seeded(device: torch.device, *key: int | str) -> Iterator[None]:
    """Inside, torch's global generators are keyed as by `generator`; afterwards they are as they were.

    Dropout draws from them, and takes no other. Costs some 20 us (`torch.manual_seed` alone: ten times as much).

    Args:
        device: Where the modules run that draw.
        key: See `generator`.
    """
    on_gpu, seed = device.type == "cuda", generator(*key).initial_seed()
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield
