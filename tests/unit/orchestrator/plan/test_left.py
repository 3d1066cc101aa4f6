"""What is left of a sweep: all of it, less what is stored, and nothing of one that may not be continued so."""

import pytest

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.left import left_of
from orchestrator.plan.trials import CONFIG_FILE, POOL_FILE, RESULT_FILE, WARMUP_FILE, Job, plan_trials
from supernet.errors import InputError
from supernet.plain import to_sealed
from supernet.presets import read_preset


def run_of(folder, **changes):
    definition, _ = read_preset("runs", "quickstart")
    changes = {"mode": "shared", "derive": {"strategy": "pool"}, "baselines": ["mobilenet-v2"], **changes}
    return check_run({**definition, "storage": str(folder), **changes}, "mine")


def test_nothing_is_done_of_a_sweep_that_has_not_begun(tmp_path):
    left = left_of(run_of(tmp_path))
    assert left.by_target == {"torch-cpu-1t": 2, "ort-cpu-1t": 2}
    assert (left.num_trials, left.num_finished, left.num_baselines) == (4, 0, 4)
    assert (left.warmup, left.pool) == (True, True)
    assert left_of(run_of(tmp_path, sweep={"points": 3})).num_trials == 6
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_what_is_stored_is_done_and_other_settings_are_refused(tmp_path):
    """Said before: a forecast of the whole, of a sweep that the same command refuses without `--dry-run`."""
    run = run_of(tmp_path)
    plain = resolved(run)
    job = Job({**plain, "space": {**plain["space"], "num_classes": 7}}, "")  # as many as its images have
    job.store.write_json(CONFIG_FILE, dict(job.config))
    job.store.write(WARMUP_FILE, b"")
    first, *others = plan_trials(run)
    job.trial_store(first).write(RESULT_FILE, to_sealed(job.result(first, cost=1.0, top1=0.8)).encode())
    left = left_of(run)
    assert [trial.key for trial in left.trials] == [trial.key for trial in others]
    assert (left.num_trials, left.num_finished, left.num_baselines) == (3, 1, 4), "one beside each network"
    assert (left.warmup, left.pool) == (False, True)
    job.store.write(POOL_FILE, b"")
    assert not left_of(run).pool
    with pytest.raises(InputError, match=r"has begun with other settings:\n  seed: 0 -> 5"):
        left_of(run_of(tmp_path, seed=5))
