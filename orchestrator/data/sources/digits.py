"""The embedded source: scikit-learn's handwritten digits. It must not know how sources are chosen."""

import hashlib

import numpy as np

from orchestrator.data.format import encode_png
from orchestrator.data.sources.source import Part, Source


def open_digits() -> Source:
    """1797 handwritten digits of 8 x 8 in 17 grays; they are part of scikit-learn's wheel."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = np.round(loaded.images * (255 / 16)).astype(np.uint8)
    labels = [int(label) for label in loaded.target]
    main = Part(labels, lambda i: encode_png(images[i]), lambda i: f"digits, image {i}")
    listing = hashlib.sha256(images.tobytes() + loaded.target.tobytes()).hexdigest()
    return Source("digits", tuple(str(n) for n in range(10)), main, None, listing)
