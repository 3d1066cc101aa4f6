"""A small data set of colour images of mixed sizes, for the tests that read data."""

from pathlib import Path

import numpy as np
from PIL import Image

from orchestrator.data.build import build


def build_photos(folder: Path) -> Path:
    """Write 12 images of each of 2 classes into `folder`, 20 to 49 pixels a side, and return the data set built."""
    random = np.random.default_rng(0)
    for label in range(2):
        (folder / "images" / f"c{label}").mkdir(parents=True)
        for i in range(12):
            height, width = (int(n) for n in random.integers(20, 50, 2))
            pixels = random.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"c{label}" / f"{i}.png")
    built = folder / "built"
    build(str(folder / "images"), built, validation_fraction=0.2, test_fraction=0.2, seed=0, rows_per_group=5)
    return built
