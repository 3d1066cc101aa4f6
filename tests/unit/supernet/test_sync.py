"""What a process without ranks uses; `tests/integration/test_ranks.py` holds the processes that have them."""

import torch
import torch.distributed as dist

from supernet.sync import AllReduce, Alone, default_sync


def test_alone_does_nothing():
    sync, tensor = default_sync(), torch.ones(3)
    sync.average([tensor])
    sync.broadcast([tensor])
    assert isinstance(sync, Alone)
    assert torch.equal(tensor, torch.ones(3))


def test_a_frozen_parameter_among_those_that_learn_is_left_as_it_is(tmp_path):
    """Before: an own operator with one worked on one rank and ended the search on two."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/init", rank=0, world_size=1)
    try:
        frozen, learnt = torch.nn.Parameter(torch.ones(3), requires_grad=False), torch.nn.Parameter(torch.ones(3))
        sync = AllReduce()
        with sync.averaging([learnt, frozen]):
            (learnt * frozen).sum().backward()
    finally:
        dist.destroy_process_group()
    assert learnt.grad.tolist() == [1.0] * 3
    assert frozen.grad is None
    assert sync.bytes_reduced == learnt.numel() * 4, "what learns does not wait for it"
