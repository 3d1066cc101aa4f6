"""The scattered digits: the same on every machine, one drawing of each, harder than the digits they come from."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from orchestrator.data.sources.scattered import SIDE, scattered


def test_each_digit_is_drawn_once_and_splits_share_none(tmp_path: Path) -> None:
    manifest = build("scattered-digits", tmp_path / "d", validation_fraction=0.2, test_fraction=0.3)
    assert sum(manifest.counts.values()) == 1797 == len(load_digits().target)
    assert manifest.image_size == (SIDE, SIDE)
    assert manifest.content == build("scattered-digits", tmp_path / "again").content


def test_a_digit_stays_whole_wherever_it_is_drawn() -> None:
    digit, rng = np.zeros((8, 8)), np.random.default_rng(1)
    digit[2:6, 2:6] = 1.0
    canvases = [scattered(digit, rng) for _ in range(200)]
    ink = [canvas[canvas > 0.5].sum() for canvas in canvases]
    centres = np.array([np.argwhere(canvas > 0.5).mean(0) for canvas in canvases])
    assert 0.8**2 * 16 * 0.7 < min(ink) < max(ink) < 1.4**2 * 16 * 1.2
    assert centres.std(0).min() > 1.0  # somewhere on the canvas, in both directions


def test_what_tells_digits_apart_no_longer_does(tmp_path: Path) -> None:
    def linear_top1(source: str) -> float:
        build(source, tmp_path / source, test_fraction=0.3)
        data = ImageData(tmp_path / source, input_size=(1, SIDE, SIDE), seed=0)
        parts = {}
        for split in ("train", "test"):
            images, labels = zip(*data.once(split, 100), strict=True)
            parts[split] = torch.cat(images).flatten(1).numpy(), torch.cat(labels).numpy()
        return float(RidgeClassifier().fit(*parts["train"]).score(*parts["test"]))

    assert linear_top1("digits") > 0.92
    assert linear_top1("scattered-digits") < 0.60
