"""The embedded source on which capacity matters: scikit-learn's digits, scattered. It must not know how sources are
chosen.

Centred digits are told apart by the smallest network there is; a front over them says nothing. Here each is drawn once
on a larger canvas: somewhere, turned, smaller or larger, with noise. No digit is drawn twice, so that train, validation
and test stay apart.
"""

import hashlib
import math
from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.data.pixels import Pixels, encode_png
from orchestrator.data.sources.source import Row, Rows, Source, make_source

Image = np.ndarray[Any, np.dtype[np.float64]]

SIDE, SCALES, MAX_ANGLE, NOISE = 16, (0.8, 1.4), math.radians(20), 0.05
"""Side of the canvas; by how much digits are scaled and turned; deviation of the noise, where full ink is 1."""


def open_scattered_digits(source: str) -> Source:
    """1797 handwritten digits on canvases of 16 x 16 in 256 grays, the same ones on every machine."""
    pixels, labels = _drawn()
    rows = Rows(Row(source, i, 0, int(label)) for i, label in enumerate(labels))
    listing = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    return make_source(source, [str(n) for n in range(10)], {"train": rows}, listing, read=_read, origin=_origin)


@lru_cache(maxsize=1)
def _drawn() -> tuple[Pixels, np.ndarray[Any, np.dtype[np.int64]]]:
    from sklearn.datasets import load_digits

    loaded, rng = load_digits(), np.random.default_rng(0)
    drawn = np.stack([scattered(image / 16, rng) for image in loaded.images])
    return np.round(drawn * 255).astype(np.uint8), loaded.target


def _read(row: Row) -> bytes:
    return encode_png(_drawn()[0][row.at])


def _origin(row: Row) -> str:
    return f"{row.file}, image {row.at}"


def scattered(digit: Image, rng: np.random.Generator) -> Image:
    """Return a canvas, 0..1, with the digit, 0..1 and square, wholly on it unless its corners are turned out."""
    from scipy.ndimage import affine_transform

    scale, angle = rng.uniform(*SCALES), rng.uniform(-MAX_ANGLE, MAX_ANGLE)
    margin = scale * len(digit) / 2
    centre = rng.uniform(margin, SIDE - margin, 2) - 0.5
    to_digit = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / scale
    offset = (len(digit) - 1) / 2 - to_digit @ centre
    canvas: Image = affine_transform(digit, to_digit, offset, output_shape=(SIDE, SIDE), order=1)
    return np.clip(canvas + rng.normal(0, NOISE, canvas.shape), 0, 1)
