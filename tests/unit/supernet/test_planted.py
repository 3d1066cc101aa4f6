"""A planted optimum is found by every estimator; `python -m benchmarks.planted` runs 20 seeds of it."""

from typing import get_args

import pytest
import torch

from benchmarks.planted import NUM_POSITIONS, SIZE, ZERO, PlantedData, found_path, planted_path, planted_space
from supernet.estimators import EstimatorName
from supernet.network import Supernet


@pytest.mark.parametrize("estimator", get_args(EstimatorName))
@pytest.mark.parametrize("seed", [0, 1])
def test_the_planted_path_is_found(estimator, seed):
    assert found_path(estimator, seed, num_steps=150) == planted_path(seed)


def test_the_planted_path_carries_the_most_of_the_label():
    """Signal to noise of every channel's mean, by candidate: the planted one is the best of the five."""
    path, space = planted_path(3), planted_space()
    images, labels = next(PlantedData(path).batches("train", 8192))
    bits = 2.0 * (labels[:, None] // (2 ** torch.arange(NUM_POSITIONS)) % 2) - 1.0
    layers = Supernet(space).layers
    for channel in range(NUM_POSITIONS):
        ratios = []
        for candidate in range(ZERO + 1):
            with torch.no_grad():
                kept = (images + layers[channel].run(images, candidate))[:, channel].mean((1, 2))
            signal = (kept * bits[:, channel]).mean()
            ratios.append(float(signal / (kept * bits[:, channel]).std()))
        assert max(range(ZERO + 1), key=ratios.__getitem__) == path[channel]
        assert sorted(ratios)[-1] > 1.5 * sorted(ratios)[-2]
    assert images.shape == (8192, NUM_POSITIONS, SIZE, SIZE)
