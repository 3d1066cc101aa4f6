"""What a process without ranks uses; `tests/integration/test_ranks.py` holds the processes that have them."""

import torch

from supernet.sync import Alone, default_sync


def test_alone_does_nothing():
    sync, tensor = default_sync(), torch.ones(3)
    sync.average([tensor])
    sync.broadcast([tensor])
    assert isinstance(sync, Alone)
    assert torch.equal(tensor, torch.ones(3))
