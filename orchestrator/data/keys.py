"""64-bit keys that stand for chance: of an image by its content, of a sample by (seed, epoch, index). Only numbers.

Why here: what is random about an image or a sample is a function of its key, so it does not depend on the order of a
source, on ranks, on loader workers or on what ran before.
"""

import hashlib
from typing import Any

import numpy as np

Keys = np.ndarray[Any, np.dtype[np.uint64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
DIGEST_BYTES = 16


def mix(x: Keys) -> Keys:
    """Scramble 64-bit numbers: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sample_keys(seed: int, epochs: np.ndarray[Any, Any], indices: np.ndarray[Any, Any]) -> Keys:
    """Return one key per sample from the seed, the sample's epoch and its index in the split."""
    key = mix(np.full(indices.shape, seed % 2**64, np.uint64))
    return mix(mix(key ^ epochs.astype(np.uint64)) ^ indices.astype(np.uint64))


def image_digest(encoded: bytes) -> bytes:
    """Return the checksum of an encoded image."""
    return hashlib.blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def image_keys(digests: Keys, seed: int, purpose: int) -> Keys:
    """Return one key per image from a half of its digest, shape (n,), the seed, and what the key is for."""
    salt = mix(mix(np.array([seed % 2**64], np.uint64)) ^ np.uint64(purpose))
    return mix(digests ^ salt)
