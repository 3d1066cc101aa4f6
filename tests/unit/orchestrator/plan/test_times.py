"""How long phases take: arithmetic on what is left and on the speed of a weight step, in the ledger's phases."""

import pytest
from shared_mode import in_shared_mode

from latency.target import load_target
from orchestrator.data.build import build
from orchestrator.plan.check import check_run
from orchestrator.plan.ledger import PROPER
from orchestrator.plan.left import left_of
from orchestrator.plan.times import ARCH_STEP, FORWARD, MEASURE_SECONDS, times_of
from supernet.estimators import ESTIMATORS
from supernet.judging import NUM_SHARED
from supernet.presets import read_preset

BOARD = {**load_target("ort-cpu-1t").to_dict(), "name": "board"}


def times(image_seconds=1e-3, fewest=False, **changes):
    own = {"mode": "shared", "space": "digits", "targets": ["macs", "ort-cpu-1t", BOARD], "storage": "no-such-folder"}
    whole = {**read_preset("runs", "quickstart")[0], **own, **changes}
    run = check_run(in_shared_mode(whole) if whole["mode"] == "shared" else whole, "mine")
    return times_of(run, left_of(run, fewest=fewest), image_seconds)


@pytest.mark.parametrize(("search", "weight_steps"), [
    ({"estimator": "two-path"}, 0.62),
    ({"estimator": "one-path"}, 1.36),
    ({"estimator": "reinforce"}, 1.9),
    ({"estimator": "reinforce", "num_samples": 20}, 3.8),
])  # fmt: skip
def test_an_architecture_step_takes_what_was_measured_of_its_estimator(search, weight_steps):
    base = read_preset("runs", "quickstart")[0]
    every = base["search"]["arch_every"]
    seconds = times(mode="independent", search=base["search"] | search)["phase_seconds"]["search"]
    images = base["search"]["num_steps"] * base["search"]["batch_size"]
    assert seconds == pytest.approx(6 * images * (1 + weight_steps / every) * 1e-3, abs=0.1)
    assert set(ARCH_STEP) == set(ESTIMATORS)


@pytest.mark.parametrize(("mode", "derive", "num_paths"), [
    ("shared", {"strategy": "judged-pool", "pool_size": 50}, 50 + 6 * 2 * 7),
    ("independent", {"strategy": "judged-pool", "pool_size": 50}, 6 * (50 + 2 * 7)),
    ("shared", {"strategy": "judged"}, 6 * 2 * 7),
    ("shared", {"strategy": "most-probable"}, 6 * 2),
])  # fmt: skip
def test_judging_is_forward_passes_of_a_pool_once_and_of_each_trials_paths(mode, derive, num_paths):
    settings = {"num_candidates": 7, "recalibration_batches": 4, "max_validation_images": 1000, **derive}
    found = times(mode=mode, derive=settings)
    images = 4 * read_preset("runs", "quickstart")[0]["search"]["batch_size"] + 1000
    assert found["phase_seconds"]["judge paths"] == pytest.approx(num_paths * images * FORWARD * 1e-3, abs=0.1)
    assert set(found["phase_seconds"]) - {"workers"} <= set(PROPER)


def test_a_warm_up_ends_with_the_statistics_that_its_paths_share_which_more_workers_make_no_faster(monkeypatch):
    monkeypatch.setattr("orchestrator.plan.times.os.cpu_count", lambda: 4)
    for workers, num_threads in ((1, 1), (4, 1), ({"max": 2, "cpus": 2}, 2)):
        shared, own = (
            times(workers=workers, derive={"recalibration_batches": batches})["warmup_seconds"] for batches in (None, 4)
        )
        batch_size = read_preset("runs", "quickstart")[0]["search"]["batch_size"]
        assert shared - own == pytest.approx(NUM_SHARED * batch_size * FORWARD * 1e-3 / num_threads, abs=0.11)


def test_no_sweep_is_shorter_than_one_of_its_trials():
    alone = times(targets=["macs"], sweep={"budget_fractions": [0.5]}, max_concurrent=64)
    assert alone["total_seconds"] > alone["warmup_seconds"] + alone["trial_seconds"]


def test_trials_run_at_once_where_there_is_room_for_their_workers(monkeypatch):
    monkeypatch.setattr("orchestrator.plan.times.os.cpu_count", lambda: 4)
    runs = {
        at_once: times(workers=2, max_concurrent=at_once, targets=["ort-cpu-1t"], sweep={"points": 6})
        for at_once in (1, 8)
    }
    one, many = ((found["total_seconds"] - found["warmup_seconds"]) / found["trial_seconds"] for found in runs.values())
    assert one > 6
    assert 3 < many < 0.8 * one, "three rounds of two at once, and what is done once"


def test_baselines_run_at_once_as_trials_do(monkeypatch):
    monkeypatch.setattr("orchestrator.plan.times.os.cpu_count", lambda: 8)
    known = {"targets": ["macs"], "sweep": {"points": 8}, "baselines": ["mobilenet-v2-32px"]}
    one, many = (times(max_concurrent=at_once, **known) for at_once in (1, 8))
    assert one["total_seconds"] - many["total_seconds"] == pytest.approx(
        7 * (one["trial_seconds"] + one["baseline_seconds"]), abs=2.0
    )


def test_a_network_that_stands_beside_all_is_trained_once_and_measured_on_each_target():
    known = {"targets": ["macs", "params"], "sweep": {"points": 3}, "baselines": ["mobilenet-v2-32px"]}
    without, most, least = (times(**{**known, **own}) for own in ({"baselines": []}, {}, {"fewest": True}))
    trained = [found["phase_seconds"]["train"] for found in (without, most, least)]
    assert trained[1:] == pytest.approx([trained[0] / 6 * (6 + 6), trained[0] / 6 * (6 + 1)], abs=0.1)
    assert without["total_seconds"] < least["total_seconds"] < most["total_seconds"]


MEASURE, EACH = {"table_seconds": 5.0, "network_seconds": 10.0}, MEASURE_SECONDS + 10.0


def test_the_cross_table_counts_each_network_on_each_target_that_measures():
    """Left out before, a tenth of the night of docs/example."""
    two = ["ort-cpu-1t", "torch-cpu-1t"]
    without, found = (
        times(targets=two, sweep={"points": 8}, measure={**MEASURE, "cross_table": wanted}) for wanted in (False, True)
    )
    assert (without["cross_seconds"], found["cross_seconds"]) == (0.0, 2 * 16 * EACH)
    assert found["total_seconds"] - without["total_seconds"] == pytest.approx(2 * 16 * EACH)
    assert found["phase_seconds"]["measure"] - without["phase_seconds"]["measure"] == pytest.approx(2 * 16 * EACH)
    counted = times(targets=["macs", "ort-cpu-1t"], sweep={"points": 8}, measure=MEASURE)
    assert counted["cross_seconds"] == 0.0, "one target alone compares nothing"
    known = times(targets=["ort-cpu-1t"], sweep={"points": 2}, measure=MEASURE, baselines=["mobilenet-v2-32px"])
    assert known["cross_seconds"] == (2 + 2) * EACH


def test_targets_that_count_measure_nothing():
    known = ["mobilenet-v2-32px"]
    counted = times(targets=["macs", "params"], sweep={"points": 2}, measure=MEASURE, baselines=known)
    assert counted["phase_seconds"]["measure"] == 0.0
    mixed = times(targets=["macs", "ort-cpu-1t"], sweep={"points": 2}, measure=MEASURE)
    assert mixed["phase_seconds"]["measure"] == 2 * 2 * (MEASURE_SECONDS + 20.0)
    assert mixed["trial_seconds"] == pytest.approx(counted["trial_seconds"] + 2 * 26.0), "where it takes longest"


def test_files_are_judged_on_the_images_that_are_prepared(tmp_path):
    counts = build("digits", tmp_path / "digits", validation_fraction=0.2, test_fraction=0.3, seed=0).counts
    data = {"source": str(tmp_path / "digits")}
    found = times(targets=["ort-cpu-1t"], sweep={"points": 2}, max_concurrent=1, data=data)
    tests, validation = counts["test"], counts["validation"]
    assert found["num_test_images"] == tests
    seconds = 2 * (3 * tests + validation) * FORWARD * 1e-3
    assert found["phase_seconds"]["evaluate"] == pytest.approx(seconds, abs=0.1)
    unknown = times(targets=["ort-cpu-1t"], sweep={"points": 2}, max_concurrent=1)
    assert (unknown["num_test_images"], unknown["phase_seconds"]["evaluate"]) == (None, 0.0)
    assert found["total_seconds"] - unknown["total_seconds"] == pytest.approx(seconds, abs=0.2)
    torch = times(targets=["torch-cpu-1t"], sweep={"points": 2}, data=data)["phase_seconds"]["evaluate"]
    assert torch == pytest.approx(2 * (2 * tests + validation) * FORWARD * 1e-3, abs=0.1)
