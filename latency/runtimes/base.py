"""The interface of a runtime: a model goes in, something that can be timed comes out. Knows no library.

A runtime is a module with the functions of `Runtime`. Host-timed runtimes wrap their call in `host_program`.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from latency.runtimes.registry import entry
from latency.target import Target

CLEAN_SHARE = 0.97
"""A call during which the process ran for less of the wall time was interrupted: it is not clean. Nor is one in which
its threads together waited for cores for more than the rest of it."""

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Environment of processes that time a processor, so that latency is a property of the network.

By default glibc maps big tensors afresh at each call, or not, depending on what the process did before: the same
network then takes 17.7 or 26 ms on eager PyTorch. Freed memory is kept; and where the system grants them, pages are
huge: small ones lie anywhere in physical memory, and how they share the caches is another lottery.
"""


class Clock(Protocol):
    """Time as a dependency: nanoseconds of the wall, and of this process on any processor."""

    def wall_ns(self) -> int:
        """Return monotonic wall time."""
        ...

    def cpu_ns(self) -> int:
        """Return processor time of this process."""
        ...


class Call(NamedTuple):
    """One timed inference: milliseconds, and whether nothing is known to have disturbed it."""

    ms: float
    clean: bool


def do_nothing() -> None:
    """Leave the caches as the last call left them."""


Waited = Callable[[], int]
"""Tells for how many nanoseconds threads that could run have waited for a core so far."""


def not_watched() -> AbstractContextManager[Waited]:
    """Watch nothing: a single thread that waits shows in the processor time."""
    return nullcontext(lambda: 0)


@dataclass(frozen=True)
class Host:
    """What host-timed runtimes are timed with.

    Attributes:
        clock: Time.
        before_call: Runs before every timed call, outside its time: may put the caches in the state that the
            rest of a network would leave.
        watch: Watches the threads that there are while a visit lasts. Of several threads one can wait unseen by the
            processor time, for the others spend it.
    """

    clock: Clock
    before_call: Callable[[], None] = do_nothing
    watch: Callable[[], AbstractContextManager[Waited]] = not_watched


Output = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From images to what the network says of them."""


@dataclass(frozen=True)
class Program:
    """A prepared model.

    Attributes:
        time: Runs that many inferences and returns one `Call` each.
        output: Runs images of the example's shape, returns the output as float32, shape (N, ...); None if it gives only
            times.
    """

    time: Callable[[int], list[Call]]
    output: Output | None


class Model(Protocol):
    """What a runtime may ask of a model; it takes the form it can run."""

    @property
    def example(self) -> NDArray[np.float32]:
        """Example input, shape (N, C, H, W)."""
        ...

    def module(self) -> nn.Module:
        """Return it as a module in eval mode."""
        ...

    def onnx(self) -> bytes:
        """Return it as a serialised ONNX model with a fixed batch."""
        ...

    def int8(self) -> bytes:
        """Return it as an int8 ONNX model (QDQ form)."""
        ...


class Runtime(Protocol):
    """The functions of a runtime's file."""

    def missing(self, target: Target) -> str:
        """Say why this machine cannot run the target beyond missing packages, or return an empty string."""
        ...

    def facts(self, target: Target) -> Mapping[str, Any]:
        """Return what belongs to the fingerprint beside machine and versions, for instance a GPU's name."""
        ...

    def environment(self, target: Target) -> Mapping[str, str]:
        """Return environment variables that the measuring process must start with."""
        ...

    def prepare(self, model: Model, target: Target, host: Host) -> Program:
        """Make a model runnable on the target."""
        ...


class DeviceRuntime(Runtime, Protocol):
    """The functions of a runtime with reference kernels of its own (`registry.Entry.kernels`)."""

    def reference_kernel(self, name: str, target: Target) -> Program:
        """Return the kernel `cache`, which stays in the nearest caches, or `stream`, which streams memory."""
        ...


def load_runtime(name: str) -> Runtime:
    """Import a runtime's file (which imports its library only when it prepares something)."""
    return cast(Runtime, importlib.import_module(f"latency.runtimes.{entry(name).module}"))


def load_kernels(name: str) -> DeviceRuntime:
    """Import the file of a runtime that has reference kernels of its own."""
    assert entry(name).kernels
    return cast(DeviceRuntime, load_runtime(name))


def host_facts(target: Target) -> Mapping[str, Any]:
    """Return the allocator's setting, which belongs to targets on processors: their `Runtime.facts`."""
    return {"malloc": MALLOC}


def host_environment(target: Target) -> Mapping[str, str]:
    """Keep freed memory in the process, and in huge pages: the `Runtime.environment` of targets on processors."""
    return MALLOC


def host_program(run: Callable[[], object], output: Output, host: Host) -> Program:
    """Time a synchronous call with the host's clock.

    The processor time is read outside the wall time, so it is never the shorter one by accident: a call is clean
    if the process was running all the while, and none of its threads waited for a core.
    """

    def time(num_calls: int) -> list[Call]:
        calls, clock = [], host.clock
        with host.watch() as waited:
            for _ in range(num_calls):
                host.before_call()
                wait = waited()
                cpu = clock.cpu_ns()
                wall = clock.wall_ns()
                run()
                wall = clock.wall_ns() - wall
                cpu = clock.cpu_ns() - cpu
                wait = waited() - wait
                calls.append(Call(wall / 1e6, cpu >= CLEAN_SHARE * wall and wait <= (1 - CLEAN_SHARE) * wall))
        return calls

    return Program(time, output)
