"""The embedded source: scikit-learn's handwritten digits. It must not know how sources are chosen."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.data.pixels import Pixels, encode_png
from orchestrator.data.sources.source import Row, Rows, Source, make_source


def open_digits(source: str) -> Source:
    """1797 handwritten digits of 8 x 8 in 17 grays; they are part of scikit-learn's wheel."""
    images, labels = _digits()
    rows = Rows(Row("digits", i, 0, int(label)) for i, label in enumerate(labels))
    listing = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return make_source(source, [str(n) for n in range(10)], {"train": rows}, listing, read=_read, origin=_origin)


@lru_cache(maxsize=1)
def _digits() -> tuple[Pixels, np.ndarray[Any, np.dtype[np.int64]]]:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return np.round(loaded.images * (255 / 16)).astype(np.uint8), loaded.target


def _read(row: Row) -> bytes:
    return encode_png(_digits()[0][row.at])


def _origin(row: Row) -> str:
    return f"digits, image {row.at}"
