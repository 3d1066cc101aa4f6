"""Ranks meet at a store that listens on one address only."""

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from orchestrator.trial.rendezvous import join, leave, serve


def listening_on(port):
    """Return the addresses at which this process listens on a port."""
    found = psutil.Process().net_connections("tcp")
    return [c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN and c.laddr.port == port]


def work(rank, port, folder):
    join("gloo", "127.0.0.1", port, rank, 2, 60)
    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    torch.save(total, f"{folder}/{rank}.pt")
    leave()


def test_ranks_meet_and_nothing_listens_elsewhere(tmp_path):
    port = serve("127.0.0.1", 60)
    try:
        assert listening_on(port) == ["127.0.0.1"]
        mp.start_processes(work, args=(port, str(tmp_path)), nprocs=2, start_method="spawn")
        assert [float(torch.load(tmp_path / f"{rank}.pt")) for rank in (0, 1)] == [3.0, 3.0]
    finally:
        leave()
    assert listening_on(port) == []
