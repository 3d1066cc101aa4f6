"""PyTorch on an NVIDIA GPU, eager or as a replayed CUDA graph, timed by events on the device.

Two targets apart: eager at batch 1 mostly measures launches, a graph measures kernels. The device is waited for
before and after every call: without that, a clock sees only how fast work is queued. `Device` is what a test fakes.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from latency.precision import cast
from latency.runtimes.base import Call, Host, Model, Output, Program
from latency.target import Target

T = TypeVar("T")


class Event(Protocol):
    """A mark in the device's queue."""

    def record(self) -> None:
        """Put it behind what was queued so far."""
        ...

    def elapsed_time(self, end_event: Any) -> float:
        """Return milliseconds from this to a later one; both must have been reached."""
        ...


class Device(Protocol):
    """What timing needs of a GPU."""

    def current(self) -> AbstractContextManager[None]:
        """Make it the device whose queue events are put into; it is device 0 otherwise."""
        ...

    def event(self) -> Event:
        """Return a new event that can be timed."""
        ...

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        ...


class CudaDevice:
    """A real GPU."""

    def __init__(self, name: str) -> None:
        self.name = torch.device(name)

    def current(self) -> AbstractContextManager[None]:
        """Make it the device whose queue events are put into."""
        return torch.cuda.device(self.name)

    def event(self) -> Event:
        """Return a new event that can be timed."""
        event: Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        return event

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        torch.cuda.synchronize(self.name)


def device_program(run: Callable[[], object], output: Output, device: Device) -> Program:
    """Time a call that queues work on a device, by events around it."""

    def time(num_calls: int) -> list[Call]:
        calls = []
        with device.current():
            for _ in range(num_calls):
                start, end = device.event(), device.event()
                device.synchronize()
                start.record()
                run()
                end.record()
                device.synchronize()
                calls.append(Call(start.elapsed_time(end), True))
        return calls

    return Program(time, output)


def missing(target: Target) -> str:
    """Say if there is no such GPU."""
    if not torch.cuda.is_available():
        return "no CUDA device is visible to torch"
    index = torch.device(target.device).index or 0
    count = torch.cuda.device_count()
    return "" if index < count else f"device {target.device} is not there; torch sees {count}"


def facts(target: Target) -> Mapping[str, Any]:
    """Return the GPU's name and the libraries below torch."""
    properties = torch.cuda.get_device_properties(target.device)
    return {
        "gpu": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def environment(target: Target) -> Mapping[str, str]:
    """Nothing is needed."""
    return {}


def prepare(model: Model, target: Target, host: Host) -> Program:
    """Move the module to the GPU; capture it in a graph if the target says so."""
    device = CudaDevice(target.device)
    torch.backends.cudnn.benchmark = target.settings.cudnn_benchmark
    module, x = cast(model.module(), torch.from_numpy(model.example), target.precision)
    module, x = module.to(target.device), x.to(target.device)
    if target.settings.channels_last:
        module, x = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)

    def eager() -> torch.Tensor:
        with torch.inference_mode():
            y: torch.Tensor = module(x)
            return y

    call: Callable[[], torch.Tensor] = eager
    if target.runtime == "cuda-graph":
        graph, y = capture(eager, target.device)

        def replay() -> torch.Tensor:
            graph.replay()
            return y

        call = replay

    def output(images: NDArray[np.float32]) -> NDArray[np.float32]:
        x.copy_(torch.from_numpy(images))
        result: NDArray[np.float32] = call().float().cpu().numpy()
        return result

    return device_program(call, output, device)


def capture(run: Callable[[], T], device: str) -> tuple[torch.cuda.CUDAGraph, T]:
    """Return a call as a CUDA graph, captured after some runs on a side stream as torch's documentation asks for.

    Args:
        run: The call; every replay does what it does now.
        device: The GPU, such as `cuda:0`.

    Returns:
        The graph, and what the call returned: tensors that each replay fills anew.
    """
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = run()
    return graph, y


def reference_kernel(name: str, target: Target) -> Program:
    """Return a GPU's reference kernel: `cache` multiplies small matrices, `stream` adds up 256 MiB."""
    small = torch.ones(1024, 1024, device=target.device)
    big = torch.ones(2**26 if name == "stream" else 1, device=target.device)

    def run() -> torch.Tensor:
        return torch.mm(small, small) if name == "cache" else big.sum()

    return device_program(run, lambda images: images, CudaDevice(target.device))
