"""The baselines' step: widths that are chosen once, and what follows when one cannot be made."""

from dataclasses import replace

import pytest
import yaml
from repository import ROOT

from latency.measuring.measure import Measurement
from orchestrator.data.build import build
from orchestrator.plan.baselines import WIDTHS, baselines_of, chosen, keep_cost, known_costs, scaled
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.trials import ONNX_FILE, OUTCOME_FILE, RESULT_FILE, WEIGHTS_FILE, Job, plan_trials
from orchestrator.trial.baselines import prepared, run_baselines, take_training, twins_of
from orchestrator.trial.files import stored_outcome
from orchestrator.trial.records import Outcome, checksum, write_record
from supernet.cost import count_cost
from supernet.errors import RunError
from supernet.plain import to_sealed
from supernet.presets import load_space, read_preset


@pytest.fixture
def job(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [2e5]}, "storage": str(tmp_path)}
    return Job(resolved(check_run({**definition, **changes, "baselines": ["mobilenet-v2"]}, "mine")), "")


def stored(job, cost):
    """Leave the result of the sweep's one trial."""
    (trial,) = plan_trials(job.run)
    result = job.result(trial, cost=cost, budget=2e5, top1=0.9, architecture="some")
    job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    return result


def test_a_baseline_is_as_wide_as_the_networks_cost_allows(job):
    (baseline,) = baselines_of(job, [stored(job, 1e6)])
    inner, trial, costs = prepared(job, baseline)
    counted = count_cost(inner.space, inner.space.architecture(trial.path))["num_macs"]
    assert costs.total(trial.path) == counted
    assert 0.6e6 < counted <= 1e6
    assert (costs.unit, trial.target) == ("1", "macs")
    again, _, _ = prepared(job, baseline)
    assert again.space == inner.space


def test_where_not_even_the_narrowest_is_as_fast_it_stands_for_all(job):
    (baseline,) = baselines_of(job, [stored(job, 1e3)])
    inner, trial, costs = prepared(job, baseline)
    narrowest, path = scaled(job, "mobilenet-v2", WIDTHS[0])
    assert (inner.space, trial.path) == (narrowest.space, path)
    assert costs.total(path) > 1e3


def test_a_width_is_chosen_by_what_the_gate_will_measure(tmp_path, monkeypatch):
    """Seen: chosen by a figure of a machine 12 % faster than the table's, and the file rejected as that much slower."""
    build("digits", tmp_path / "digits", validation_fraction=0.05, test_fraction=0.05, seed=0)
    definition, _ = read_preset("runs", str(ROOT / "benchmarks" / "small_sweep.yaml"))
    changes = {"targets": ["ort-cpu-1t"], "storage": str(tmp_path), "baselines": ["mobilenet-v2"]}
    job = Job(resolved(check_run({**definition, **changes}, "mine")), str(tmp_path / "digits"))
    (baseline,) = baselines_of(job, [stored(job, 0.5)])
    machine = 0.88

    def measured(inner, target, name, content, near_ms, key):
        assert (target, name, near_ms) == ("ort-cpu-1t", ONNX_FILE, 0.5)
        assert key.startswith("ort-cpu-1t-f0.4-mobilenet")
        return Measurement(machine * len(content) / 1e6, 0.001, 1.0, 100, None, "", machine)

    monkeypatch.setattr("orchestrator.trial.baselines.measure_model", measured)
    monkeypatch.setattr("orchestrator.trial.baselines.target_costs", lambda job, target, key: None)  # it has a table
    _, trial, costs = prepared(job, baseline)
    assert 0.4 < costs.total(trial.path) <= 0.5
    assert len(known_costs(job, baseline)) > 3
    machine = 1.2
    with pytest.raises(RunError, match=r"networks of the latency table are 20% slower .* chooses its width"):
        prepared(job, replace(baseline, target="ort-cpu-1t", name="mobilenet-v3-small"))


@pytest.mark.parametrize("error", [RunError("lost"), OSError("lost")])
def test_what_is_left_is_run_and_a_failure_is_said(job, error):
    stored(job, 1e6)
    ran, said, over = [], [], []

    def run(inner, trial, costs):
        ran.append(trial.key)
        raise error

    run_baselines(job, run, said.append, over.append)
    assert over == ["macs-200k-mobilenet-v2"]
    assert [key.rpartition("-x")[0] for key in ran] == over
    assert "no baseline: " in said[0]
    assert "lost" in said[0]


def test_the_same_network_at_the_same_width_is_trained_once(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    limits = {"macs": [2e5], "params": [1e5]}
    changes = {"targets": ["macs", "params"], "sweep": {"budget_counts": limits}, "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, **changes, "baselines": ["mobilenet-v2"]}, "mine")), "")
    first, second = plan_trials(job.run)
    inner, path = scaled(job, "mobilenet-v2", WIDTHS[12])
    counts = count_cost(inner.space, inner.space.architecture(path))
    for trial, cost in ((first, counts["num_macs"]), (second, counts["num_params"])):
        result = job.result(trial, cost=float(cost), budget=float(cost), top1=0.9, architecture="some")
        job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    trained, kept = [], {}

    def run(inner, trial, costs):
        store = inner.trial_store(trial)
        if not store.exists(OUTCOME_FILE):
            trained.append(trial.key)
            store.write(WEIGHTS_FILE, b"weights")
            write_record(store, OUTCOME_FILE, Outcome("some", 0.9, 10, 10, checksum(b"weights"), 0))
        kept[trial.key] = stored_outcome(store)

    run_baselines(job, run, pytest.fail, lambda key: None)
    (one, weights), (other, others) = kept.values()
    assert len(trained) == 1
    assert weights == others == b"weights"
    assert one == other


def test_another_path_of_the_same_space_is_no_twin(tmp_path, monkeypatch):
    """Its weights were taken over before, and its numbers reported for both."""
    monkeypatch.chdir(tmp_path)
    for path in ((0,) * 6, (1,) * 6):
        architecture = load_space("digits").architecture(path)
        text = yaml.safe_dump({"space": "digits", "stages": [list(stage) for stage in architecture.stages]})
        (tmp_path / f"net{path[0]}.yaml").write_text(text)
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [2e5]}, "storage": str(tmp_path)}
    known = ["net0.yaml", "net1.yaml"]
    job = Job(resolved(check_run({**definition, **changes, "baselines": known}, "mine")), "")
    results = [stored(job, 2e5)]
    for baseline in baselines_of(job, results):
        for width in WIDTHS:
            keep_cost(job, baseline, width, 1e5 * width)
    made = [chosen(job, baseline) for baseline in baselines_of(job, results)]
    (inner, first), (other, second) = filter(None, made)
    assert inner.space == other.space
    assert first.path != second.path
    assert twins_of(job, inner, first, results) == []


def test_a_damaged_twin_is_not_taken(job):
    (baseline,) = baselines_of(job, [stored(job, 1e6)])
    inner, trial, _ = prepared(job, baseline)
    twin = replace(trial, key="twin")
    inner.trial_store(twin).write(WEIGHTS_FILE, b"flipped")
    outcome = Outcome("some", 0.9, 10, 10, checksum(b"weights"), 0)
    write_record(inner.trial_store(twin), OUTCOME_FILE, outcome)
    take_training(inner, trial, twin)
    assert not inner.trial_store(trial).exists(OUTCOME_FILE)
