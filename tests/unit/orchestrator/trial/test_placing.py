"""Points of a sweep without Ray: what is stored decides, so a killed sweep places what an undisturbed one does."""

import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import yaml
from repository import ROOT
from shared_mode import in_shared_mode

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import known_trials, read_points, stored_results
from orchestrator.plan.trials import POINTS_FILE, RESULT_FILE, Job, Trial
from orchestrator.trial import pooling
from orchestrator.trial.placing import trials_left
from supernet.cost import CostTable
from supernet.plain import to_sealed
from supernet.pool import Judged, pool_paths


def job_of(folder, name="placed", mode="independent", **changes) -> Job:
    run = yaml.safe_load((ROOT / "benchmarks" / "small_sweep.yaml").read_text())
    run |= {"name": name, "storage": str(folder), "targets": ["params", "ort-cpu-1t"], "sweep": {"points": 6}}
    run |= {"derive": {"strategy": "judged-pool", "pool_size": 40}, **changes}
    return Job(resolved(check_run(in_shared_mode(run) if mode == "shared" else run, name)), "")


def costs_of(job):
    rows = [
        [(3 * i + 5 * j + 1) * 0.6180339 % 1 * 0.6 for j in range(len(p.candidates))]
        for i, p in enumerate(job.space.positions)
    ]
    ms, counts = (tuple(tuple(scale * cost for cost in row) for row in rows) for scale in (1.0, 1e4))
    tables = CostTable("ort-cpu-1t", "ms", 0.3, ms), CostTable("params", "1", 900.0, counts)
    return {table.name: table for table in tables if table.name in job.targets}


def finish(job: Job, trial: Trial, status: str = "done") -> None:
    """Stand for a trial: a network a little below its budget, better with its cost, and not by a law of the table."""
    cost = 0.93 * trial.value if trial.kind != "weight" else 0.4 + 1 / (1 + trial.value)
    top1 = 0.5 + 0.4 * min(1.0, cost / (2.0 if trial.target == "ort-cpu-1t" else 2e4)) ** 3
    result = TrialResult(
        job.run.name, trial.key, trial.target, "budget", 0, cost=cost, top1=top1, validation_top1=round(top1, 3)
    )
    result = replace(result, status=status)
    job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())


def made(job, costs, say=print):
    """Return the trials that are left of the targets whose costs are known, one by one."""
    return iter(partial(trials_left(job, say), costs), None)


def play(job, cut_after=None, at_once=1):
    """Run a sweep with so many trials in progress at most; die after so many finished ones, mid-trial."""
    trials, given, running = made(job, costs_of(job)), [], []
    for trial in trials:
        given.append(trial)
        running.append(trial)
        if len(running) == at_once:
            if cut_after == len(given):
                return given
            finish(job, running.pop(0))
    for trial in running:
        finish(job, trial)
    return given


def with_pool(job):
    paths = pool_paths(job.space, job.run.derive.pool_size, 0)
    losses = [2.0 - 0.2 * math.sqrt(sum(path)) for path in paths]
    pooling._write(job.store, [Judged(path, 0.5, loss) for path, loss in zip(paths, losses, strict=True)])
    return job


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_a_killed_sweep_places_the_points_of_an_undisturbed_one(tmp_path, mode):
    prepared = with_pool if mode == "shared" else (lambda job: job)
    whole = prepared(job_of(tmp_path, "whole", mode=mode))
    play(whole)
    assert [len(read_points(whole).of(name)) for name in ("params", "ort-cpu-1t")] == [6, 6]
    for cut_after in (1, 3, 6, 11):
        job = prepared(job_of(tmp_path, f"cut-{cut_after}", mode=mode))
        given = play(job, cut_after)
        assert read_points(job).trials[-1] == given[-1], "it is stored before it starts"
        again = play(job)
        assert again[0] == given[-1]
        assert len(again) == 12 - cut_after + 1, "nothing that was finished is run again"
        assert read_points(job) == read_points(whole)
    job.store.filesystem.delete_file(f"{job.store.root}/{POINTS_FILE}")
    assert play(job) == [], "without the file the same points are placed anew, and found finished"
    assert read_points(job) == read_points(whole)


def test_results_move_the_points_that_follow(tmp_path):
    waiting, finishing = job_of(tmp_path, "waiting"), job_of(tmp_path, "finishing")
    play(waiting, at_once=12)
    play(finishing)
    first, other = read_points(waiting).of("ort-cpu-1t"), read_points(finishing).of("ort-cpu-1t")
    assert first[:2] == other[:2]
    assert first != other


def test_a_rejected_network_is_finished_and_tells_nothing_of_the_front(tmp_path):
    job = job_of(tmp_path, targets=["params"])
    costs = {"params": costs_of(job)["params"]}
    trials = made(job, costs)
    first, second = next(trials), next(trials)
    finish(job, first)
    rejected = job.result(second, status="rejected", reason="slow", cost=2.0, top1=0.1, validation_top1=0.1)
    job.trial_store(second).write(RESULT_FILE, to_sealed(rejected).encode())
    again = next(made(job, costs))
    assert again not in (first, second)
    assert first.value < again.value < second.value, "the gap is where it was"


def test_points_of_several_at_once_are_apart_and_in_range(tmp_path):
    job = with_pool(job_of(tmp_path, mode="shared"))
    play(job, at_once=4)
    for name, table in costs_of(job).items():
        values = sorted(trial.value for trial in read_points(job).of(name))
        assert values[0] >= table.minimum
        assert values[-1] <= table.maximum * 1.001
        assert all(b > a * (1.02 if table.unit == "ms" else 1) for a, b in itertools.pairwise(values))
        assert {trial.kind for trial in read_points(job).of(name)} == {"ms" if table.unit == "ms" else "count"}
    assert set(stored_results(job)) == {trial.key for trial in known_trials(job)}


def test_weights_are_placed_where_the_objective_weighs(tmp_path):
    search = {"num_steps": 9, "batch_size": 33, "objective": {"kind": "add_linear"}}
    job = with_pool(job_of(tmp_path, mode="shared", search=search))
    play(job)
    placed = read_points(job).of("ort-cpu-1t")
    assert {trial.kind for trial in placed} == {"weight"}
    assert 2 <= len(placed) <= 6
    assert placed[0].value > placed[1].value, "the cheap end has the greatest weight"
    assert all(placed[1].value < trial.value < placed[0].value for trial in placed[2:])
    costs = costs_of(job)["ort-cpu-1t"]
    search["objective"]["reference"] = costs.minimum + costs.maximum  # twice that of a sweep without one
    other = with_pool(job_of(tmp_path, "referred", mode="shared", search=search, targets=["ort-cpu-1t"]))
    play(other)
    assert read_points(other).trials[0].value == pytest.approx(2 * placed[0].value, rel=1e-3)


def test_a_front_without_room_is_full_for_good(tmp_path):
    job, told = job_of(tmp_path, targets=["ort-cpu-1t"]), []
    narrow = {"ort-cpu-1t": CostTable("ort-cpu-1t", "ms", 1.0, ((0.0, 0.05), (0.0, 0.1), (0.0,)))}
    trials = list(made(job, narrow, told.append))
    assert 1 <= len(trials) < 6
    assert told == [f"ort-cpu-1t: its front has room for {len(trials)} points, of 6 asked for"]
    assert read_points(job).full == ("ort-cpu-1t",)


def test_a_target_without_costs_waits_and_a_list_keeps_its_order(tmp_path):
    job, params = job_of(tmp_path), {"params": costs_of(job_of(tmp_path))["params"]}
    assert list(made(job, {})) == []
    next_trial = trials_left(job, print)
    assert {next_trial(params).target for _ in range(2)} == {"params"}
    assert next_trial(costs_of(job)).target == "ort-cpu-1t", "its table came later, and it has the fewest points"
    listed = job_of(tmp_path, "listed", sweep={"budget_fractions": [0.5, 0.2]})
    first, second, *_ = known_trials(listed)
    assert [first, second] == list(made(listed, params))
    finish(listed, first)
    assert list(made(listed, params)) == [second]
    finish(listed, second, "rejected")
    assert list(made(listed, params)) == [], "a rejected network is not searched again"


def test_a_rejected_network_is_no_point_of_the_front(tmp_path):
    jobs = [job_of(tmp_path, name) for name in ("without", "with")]
    for job, status in zip(jobs, ("rejected", "done"), strict=True):
        placing = made(job, {"ort-cpu-1t": costs_of(job)["ort-cpu-1t"]})
        for _ in range(3):
            finish(job, next(placing), status)
        next(placing)
    without, found = ([trial.value for trial in read_points(job).of("ort-cpu-1t")] for job in jobs)
    assert len(without) == len(found) == 4
    assert without != found
