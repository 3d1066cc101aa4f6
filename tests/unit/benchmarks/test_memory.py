"""What the benchmark of memory compares with: all candidates at once."""

import torch
from supernet_tiny import tiny_batch, tiny_supernet

from benchmarks.memory import all_paths


def test_all_paths_with_certain_probabilities_is_that_path():
    supernet = tiny_supernet().eval()
    images = tiny_batch()[0]
    probs = [torch.tensor([0.0, 1.0, 0.0]).double(), torch.tensor([1.0, 0.0, 0.0]).double()]
    torch.testing.assert_close(all_paths(supernet, images, probs), supernet(images, (1, 0)), rtol=0, atol=1e-12)
    supernet.layers[1].drop(0)
    torch.testing.assert_close(all_paths(supernet, images, probs), supernet(images, (1, 0)), rtol=0, atol=1e-12)
