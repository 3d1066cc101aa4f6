"""Limits beside the budget: what no network keeps is refused before anything starts, with the least there is."""

import random

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import Job
from supernet.cost import count_cost
from supernet.errors import InputError
from supernet.limits import NO_LIMITS
from supernet.peak import network_peak
from supernet.presets import read_preset


def job_of(limits: dict, targets: tuple[str, ...] = ("ort-cpu-1t",), **changes: dict) -> Job:
    definition, _ = read_preset("runs", "quickstart")
    run = check_run({**definition, "limits": limits, "targets": list(targets), **changes}, "mine")
    return Job(resolved(run), "")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            {"params": 100},
            r"mine\.limits\.params: 100; the smallest network of space 'scattered-digits' for ort-cpu-1t",
        ),
        ({"macs": 1000}, r"mine\.limits\.macs: 1000; .* has \d+"),
        ({"file_mib": 0.01}, r"mine\.limits\.file_mib: 0\.01; .* has 0\.02"),
        ({"peak_memory_mib": 0.001}, r"mine\.limits\.peak_memory_mib: 0\.001; mix alone takes 0\.005"),
        ({"params": 0}, r"mine\.limits\.params"),
        ({"parms": 1e6}, r"unknown key 'parms'; did you mean 'params'"),
    ],
)
def test_what_no_network_keeps_is_refused(limits, said):
    with pytest.raises(InputError, match=said):
        job_of(limits)


def test_limits_are_those_of_the_networks_as_they_are():
    job = job_of({"params": 15e3, "macs": 1.2e6, "file_mib": 0.08, "peak_memory_mib": 0.02})
    space, draws, seen = job.space, random.Random(0), set()
    found = job.limits("ort-cpu-1t")
    assert [limit.costs.name for limit in found.sums] == ["params", "macs", "file_mib"]
    for _ in range(12):
        path = tuple(draws.randrange(len(position.candidates)) for position in space.positions)
        counts = count_cost(space, space.architecture(path))
        assert found.sums[0].costs.total(path) == counts["num_params"]
        assert found.sums[1].costs.total(path) == counts["num_macs"]
        small = counts["num_params"] <= 15e3 and counts["num_macs"] <= 1.2e6
        small = small and found.sums[2].costs.total(path) <= 0.08 and network_peak(space, path) <= 0.02 * 2**20
        assert found.keep(path) == small
        seen.add(small)
    assert job_of({}).limits("ort-cpu-1t") == NO_LIMITS


def test_the_file_is_that_of_the_target():
    job = job_of({"file_mib": 4.0}, ("ort-cpu-1t", "ort-cpu-int8-1t", "torch-cpu-1t", "torch-cpu-bf16-1t"))
    least = {name: job.limits(name).sums[0].costs.minimum for name in job.targets}
    assert sorted(least, key=least.__getitem__)[:2] == ["ort-cpu-int8-1t", "ort-cpu-1t"]
    assert least["torch-cpu-bf16-1t"] < least["torch-cpu-1t"]
    with_ends = job_of({"file_mib": 4.0}, ("ort-cpu-int8-1t",), deliver={"int8": {"float_ends": True}})
    assert with_ends.limits("ort-cpu-int8-1t").sums[0].costs.minimum > least["ort-cpu-int8-1t"]
