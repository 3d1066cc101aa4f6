"""Timing by the host's clock: a call during which the process did not run is not clean."""

from contextlib import nullcontext

import pytest

from latency.runtimes.base import CLEAN_SHARE, Call, Host, host_program, load_kernels, load_runtime
from supernet.errors import InputError


class Steps:
    """A clock whose next call takes given nanoseconds of the wall and of the process."""

    wall = cpu = 0

    def wall_ns(self) -> int:
        return self.wall

    def cpu_ns(self) -> int:
        return self.cpu


@pytest.mark.parametrize(("cpu", "clean"), [(2_000_000, True), (round(2e6 * CLEAN_SHARE) - 1, False)])
def test_a_call_is_clean_if_the_process_ran_all_the_while(cpu: int, clean: bool) -> None:
    clock = Steps()

    def run() -> None:
        clock.wall += 2_000_000
        clock.cpu += cpu

    assert host_program(run, lambda images: images, Host(clock)).time(2) == [Call(2.0, clean)] * 2


@pytest.mark.parametrize(("wait", "clean"), [(60_000, True), (60_001, False), (1_000_000, False)])
def test_a_call_is_not_clean_if_one_of_its_threads_waited_for_a_core(wait: int, clean: bool) -> None:
    """Two threads with a millisecond of work each, of which one waits: as much processor time as wall time."""
    clock, waited = Steps(), [5]

    def before() -> None:
        waited[0] += 9_000_000  # is no part of the call

    def run() -> None:
        clock.wall += 2_000_000
        clock.cpu += 2_000_000
        waited[0] += wait

    host = Host(clock, before, lambda: nullcontext(lambda: waited[0]))
    assert host_program(run, lambda images: images, host).time(2) == [Call(2.0, clean)] * 2


def test_what_runs_before_a_call_is_not_timed() -> None:
    clock = Steps()

    def before() -> None:
        clock.wall += 7_000_000

    def run() -> None:
        clock.wall += 1_000_000
        clock.cpu += 1_000_000

    assert host_program(run, lambda images: images, Host(clock, before)).time(1) == [Call(1.0, True)]


def test_an_unknown_runtime_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown runtime 'openvin'; did you mean 'openvino'"):
        load_runtime("openvin")


def test_a_runtime_with_kernels_of_its_own_has_their_function() -> None:
    assert callable(load_kernels("cuda").reference_kernel)
