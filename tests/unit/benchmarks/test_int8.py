"""The networks of a sweep that int8 is tried on: also those of placed points, and none is an error of the user's."""

import pytest

from benchmarks.int8 import with_networks
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.stored import Points, write_points
from orchestrator.plan.trials import OUTCOME_FILE, Job, Trial
from supernet.errors import InputError
from supernet.presets import read_preset


def test_placed_points_with_a_network_are_tried_and_a_sweep_without_any_is_refused(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "storage": str(tmp_path), "sweep": {"points": 4}}, "mine")), "")
    with pytest.raises(InputError, match=f"sweep {job.run.name}: no trial has a network yet"):
        with_networks(job)
    done, left = (Trial(f"ort-cpu-1t-b{ms}", "ort-cpu-1t", "ms", float(ms)) for ms in (2, 3))
    write_points(job, Points((done, left)))
    job.trial_store(done).write(OUTCOME_FILE, b"{}")
    assert with_networks(job) == [done]
