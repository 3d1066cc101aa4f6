"""Times of a device, on a fake one: those of the work between two events."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from latency.runtimes.cuda import CudaDevice, device_program, missing
from latency.target import load_target


@dataclass
class FakeDevice:
    """A queue that works only when it is waited for; times passes by what is queued. Events go to the current device.

    Attributes:
        queue: Milliseconds of work, or events to reach.
        now: Device time.
    """

    queue: list = field(default_factory=list)
    now: float = 0.0
    is_current: bool = False

    @contextmanager
    def current(self) -> Iterator[None]:
        self.is_current = True
        yield
        self.is_current = False

    def event(self) -> "FakeEvent":
        return FakeEvent(self)

    def work(self, ms: float) -> None:
        self.queue.append(ms)

    def synchronize(self) -> None:
        for entry in self.queue:
            if isinstance(entry, FakeEvent):
                entry.reached = self.now
            else:
                self.now += entry
        self.queue.clear()


@dataclass
class FakeEvent:
    device: FakeDevice
    reached: float | None = None

    def record(self) -> None:
        assert self.device.is_current, "it would tell when another device came so far"
        self.device.queue.append(self)

    def elapsed_time(self, end: "FakeEvent") -> float:
        if self.reached is None or end.reached is None:
            raise RuntimeError("the device has not come so far: it was not waited for")
        return end.reached - self.reached


def test_device_times_are_those_of_the_work_between_the_events() -> None:
    """Work of somebody else that is still queued does not count, and every call is waited for."""
    device = FakeDevice()
    device.work(100.0)
    durations = iter([3.0, 2.0, 2.5])
    program = device_program(lambda: device.work(next(durations)), lambda images: np.zeros(1, np.float32), device)
    assert [call.ms for call in program.time(3)] == [3.0, 2.0, 2.5]
    assert device.queue == []


def test_the_current_device_is_the_targets() -> None:
    chosen = CudaDevice("cuda:1").current()
    assert isinstance(chosen, torch.cuda.device)
    assert chosen.idx == 1


def test_no_gpu_is_said() -> None:
    target = load_target("cuda-graph-fp16-b8")
    assert missing(target) == ("" if torch.cuda.is_available() else "no CUDA device is visible to torch")
