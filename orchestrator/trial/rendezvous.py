"""Where the ranks of a job find each other: torch's store, listening on one address instead of all of them.

Why here: Ray's own set-up lets torch bind the store, which then listens on every interface of rank 0's machine while
ranks run. The store is bound to the address that the node has in the cluster. It must not know what the ranks compute.
The process that controls a job reads this file too, and has no use for torch: it is imported in the ranks.
"""

import socket
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

_held: list[Any] = []
"""The store that this process serves: it ends with its last reference."""


def serve(address: str, timeout_s: float) -> int:
    """Serve a store in this process on one address; return the port."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 0), family=family, backlog=1024)
    port: int = listening.getsockname()[1]
    store = TCPStore(
        address,
        port,
        is_master=True,
        timeout=timedelta(seconds=timeout_s),
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )
    _held[:] = [store]
    return port


def join(backend: str, address: str, port: int, rank: int, num_ranks: int, timeout_s: float) -> None:
    """Make this process a rank of the default process group, by the store of rank 0."""
    import torch.distributed as dist
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    timeout = timedelta(seconds=timeout_s)
    store = TCPStore(address, port, is_master=False, timeout=timeout)
    dist.init_process_group(backend, store=store, rank=rank, world_size=num_ranks, timeout=timeout)


def leave() -> None:
    """Undo `join` and `serve`."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    _held.clear()


@dataclass
class BoundTorch(BackendConfig):  # type: ignore[misc]
    """Ray Train's configuration for torch, with this rendezvous.

    Attributes:
        backend: Of torch's process group: `nccl` or `gloo`.
        timeout_s: How long ranks wait for each other.
    """

    backend: str
    timeout_s: int

    @property
    def backend_cls(self) -> type[Backend]:
        """Return what sets the ranks up."""
        return _Bound

    @property
    def train_func_context(self) -> type[AbstractContextManager[None]]:
        """Return what a rank runs in: on its device, as under Ray's own configuration."""
        from ray.train.torch.config import TorchConfigContextManager

        context: type[AbstractContextManager[None]] = TorchConfigContextManager
        return context


class _Bound(Backend):  # type: ignore[misc]
    share_cuda_visible_devices = True  # as Ray's own: NCCL wants to see its neighbours' devices

    def on_start(self, worker_group: Any, backend_config: BoundTorch) -> None:
        address, port = worker_group.execute_single(0, _serve_on_node, backend_config.timeout_s)
        ranks = range(len(worker_group))
        joined = [
            worker_group.execute_single_async(
                rank, join, backend_config.backend, address, port, rank, len(ranks), backend_config.timeout_s
            )
            for rank in ranks
        ]
        ray.get(joined)

    def on_shutdown(self, worker_group: Any, backend_config: BoundTorch) -> None:
        ray.wait(worker_group.execute_async(leave), num_returns=len(worker_group), timeout=10)


def _serve_on_node(timeout_s: float) -> tuple[str, int]:
    address = ray.util.get_node_ip_address()
    return address, serve(address, timeout_s)
