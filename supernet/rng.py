"""Explicit randomness: every generator is a pure function of a seed and what it is for.

Why here: a resumed search must draw what an uninterrupted one would have drawn, on any rank.
"""

import hashlib

import torch


def generator(*key: int | str | float) -> torch.Generator:
    """Return a CPU generator keyed by its arguments, for instance `generator(seed, "path", step)`."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
