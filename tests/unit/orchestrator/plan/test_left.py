"""What is left of a sweep: all of it, less what is stored, and nothing of one that may not be continued so."""

import pytest
from shared_mode import in_shared_mode

from orchestrator.plan.baselines import WIDTHS, baselines_of, chosen_width, keep_cost, made_from
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.cross import Column, store_column
from orchestrator.plan.left import left_of
from orchestrator.plan.stored import stored_results
from orchestrator.plan.trials import CONFIG_FILE, POOL_FILE, RESULT_FILE, WARMUP_FILE, Job, plan_trials
from supernet.errors import InputError
from supernet.plain import to_sealed
from supernet.presets import read_preset


def run_of(folder, **changes):
    definition, _ = read_preset("runs", "quickstart")
    changes = {"derive": {"strategy": "pool"}, "baselines": ["mobilenet-v2"], **changes}
    return check_run(in_shared_mode({**definition, "storage": str(folder), **changes}), "mine")


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


def test_one_width_of_each_known_network_may_stand_beside_all_networks_and_is_trained_once(tmp_path):
    """Seen: 18 counted where two were trained, and a forecast of 2:03 where the sweep took 1:14."""
    known = {"baselines": ["mobilenet-v2-32px", "mobilenet-v3-small-32px"], "targets": ["macs", "params", "ort-cpu-1t"]}
    known["measure"] = {"cross_table": True}
    run = run_of(tmp_path, sweep={"budget_fractions": [0.1, 0.2, 0.6]}, **known)
    most, least = left_of(run), left_of(run, fewest=True)
    assert (most.baselines, most.num_trained) == ({"macs": 6, "params": 6, "ort-cpu-1t": 6}, 18)
    assert (least.baselines, least.num_trained) == ({"macs": 2, "params": 2, "ort-cpu-1t": 2}, 2)
    assert (least.by_target, least.warmup, least.pool) == (most.by_target, most.warmup, most.pool)
    assert (most.num_crossed, least.num_crossed) == (9 + 18, 9 + 6)

    job = Job(resolved(run), "")
    trials = plan_trials(run)
    for trial in trials[1:]:
        result = job.result(trial, cost=2e5, top1=0.8, architecture="some")
        job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    passed = list(stored_results(job).values())
    for baseline in baselines_of(job, passed):
        for width in WIDTHS:
            keep_cost(job, baseline, width, 2e5 * width)
        if baseline.target == "macs":
            inner, trial = made_from(job, baseline, chosen_width(job, baseline))
            done = inner.result(trial, cost=2e5, top1=0.5, architecture="known", baseline=trial.baseline)
            inner.trial_store(trial).write(RESULT_FILE, to_sealed(done).encode())
    most, least = left_of(run), left_of(run, fewest=True)
    assert most.by_target == least.by_target == {"macs": 1}
    assert most.baselines["macs"] == 2, "of the trial that is left"
    assert (set(least.baselines), least.num_trained) == ({"params", "ort-cpu-1t"}, 2), "its own are there already"


def test_targets_with_the_costs_of_one_space_have_no_baselines(tmp_path):
    """Counted before, and none is ever made."""
    changes = {"space": "proxyless-imagenet", "baselines": ["mobilenet-v2"], "sweep": {"points": 2}}
    left = left_of(run_of(tmp_path, targets=["pixel1-published", "ort-cpu-1t"], **changes))
    assert left.by_target == {"pixel1-published": 2, "ort-cpu-1t": 2}
    assert (left.baselines, left.num_baselines) == ({"ort-cpu-1t": 2}, 2)


def test_the_cross_table_is_measured_anew_for_one_more_network(tmp_path):
    run = run_of(tmp_path, baselines=[], measure={"cross_table": True})
    job = Job(resolved(run), "")
    trials = plan_trials(run)
    assert left_of(run).num_crossed == 2 * 4
    for number, trial in enumerate(trials[:-1]):
        result = job.result(trial, cost=1.0 + number, top1=0.8 + number / 100, architecture=f"some{number}")
        job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    networks = {trial.key: f"some{number}" for number, trial in enumerate(trials[:-1])}
    store_column(job, Column("ort-cpu-1t", networks, {}, ""))
    assert left_of(run).num_crossed == 2 * 4, "a column is of all its networks, in the same rounds"
    last = job.result(trials[-1], status="rejected", reason="too slow")
    job.trial_store(trials[-1]).write(RESULT_FILE, to_sealed(last).encode())
    assert left_of(run).num_crossed == 3, "no network more: the other target's column"
