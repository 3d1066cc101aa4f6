"""The baselines' step: widths that are chosen once, and what follows when one cannot be made."""

import io
from dataclasses import replace

import pytest
import yaml
from repository import ROOT
from rich.console import Console

from latency.measuring.measure import Measurement
from orchestrator.data.build import build
from orchestrator.plan.baselines import (
    WIDTHS,
    baselines_of,
    chosen,
    keep_cost,
    known_costs,
    known_network,
    missing_baselines,
    scaled,
    stored_baselines,
)
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.stored import stored_results
from orchestrator.plan.trials import ONNX_FILE, OUTCOME_FILE, RESULT_FILE, WEIGHTS_FILE, Job, plan_trials
from orchestrator.report.live import LiveView
from orchestrator.trial.baselines import prepared, run_baselines, take_training, twins_of
from orchestrator.trial.files import stored_outcome
from orchestrator.trial.records import Outcome, checksum, write_record
from orchestrator.trial.tables import Tables
from supernet.cost import count_cost
from supernet.errors import RunError, reason_of
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
    made = prepared(job, baseline)
    inner, trial, costs = made.job, made.trial, made.costs
    counted = count_cost(inner.space, inner.space.architecture(trial.path))["num_macs"]
    assert costs.total(trial.path) == counted
    assert 0.6e6 < counted <= 1e6
    assert (costs.unit, trial.target) == ("1", "macs")
    assert prepared(job, baseline).job.space == inner.space


def test_where_not_even_the_narrowest_is_as_fast_it_stands_for_all(job):
    (baseline,) = baselines_of(job, [stored(job, 1e3)])
    made = prepared(job, baseline)
    narrowest, path = scaled(job, known_network("mobilenet-v2"), WIDTHS[0])
    assert (made.job.space, made.trial.path) == (narrowest.space, path)
    assert made.costs.total(path) > 1e3


def test_a_width_is_chosen_by_what_the_gate_will_measure(tmp_path, monkeypatch):
    """Seen: chosen by a figure of a machine 12 % faster than the table's, and the file rejected as that much slower."""
    build("digits", tmp_path / "digits", validation_fraction=0.05, test_fraction=0.05, seed=0)
    definition, _ = read_preset("runs", str(ROOT / "benchmarks" / "small_sweep.yaml"))
    changes = {"targets": ["ort-cpu-1t"], "storage": str(tmp_path), "baselines": ["mobilenet-v2"]}
    job = Job(resolved(check_run({**definition, **changes}, "mine")), str(tmp_path / "digits"))
    (baseline,) = baselines_of(job, [stored(job, 0.5)])
    mood = {"machine": 0.88, "noise": ""}

    def measured(inner, target, name, content, near_ms, key):
        assert (target, name, near_ms) == ("ort-cpu-1t", ONNX_FILE, 0.5)
        assert key.startswith("ort-cpu-1t-f0.4-mobilenet")
        known = Measurement(len(content) / 1e6, 0.001, 1.0, 100, None, "")
        return replace(known, latency_ms=mood["machine"] * known.latency_ms, **mood)

    monkeypatch.setattr("orchestrator.trial.baselines.measure_model", measured)
    made = prepared(job, baseline)
    assert 0.4 < made.costs.total(made.trial.path) <= 0.5
    assert len(known_costs(job, baseline)) > 3
    other = replace(baseline, network=known_network("mobilenet-v3-small"))
    for changed, reason in (
        ({"machine": 1.2}, r"networks of the latency table are 20% slower .* chooses its width"),
        ({"machine": 1.0, "noise": "known to 9 %"}, "known to 9 %; the same command chooses its width"),  # kept before
    ):
        mood |= changed
        with pytest.raises(RunError, match=reason):
            prepared(job, other)
        assert known_costs(job, other) == {}


class Night:
    """Runs the baselines of a sweep by hand: what is given is on, until it is ended."""

    def __init__(self, job, at_once=1):
        self.job, self.at_once, self.said = job, at_once, io.StringIO()

    def run(self, play):
        """Run them as `play` does, which gets the turns and ends trials: with what they came to, or as failed ones."""

        def run(turns, take, *, own):
            def end(trial, **values):
                take(trial, self.job.result(trial, **(values or {"status": "failed", "reason": "lost"})))

            play(turns, end, own)

        view = LiveView(Console(file=self.said, width=200), dict, total=0)
        run_baselines(self.job, run, Tables(self.job, view, present=list), lambda: self.at_once, view)


def three(folder, scale=1.0):
    """Return a sweep of three budgets, with the results of networks of different costs."""
    definition, _ = read_preset("runs", "quickstart")
    changes = {"targets": ["macs"], "sweep": {"budget_counts": [1e6, 2e6, 4e6]}, "storage": str(folder)}
    job = Job(resolved(check_run({**definition, **changes, "baselines": ["mobilenet-v2"]}, "mine")), "")
    for number, trial in enumerate(plan_trials(job.run)):
        result = job.result(trial, cost=trial.value * scale, top1=0.7 + number / 10, architecture=f"some{number}")
        job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    return job


def test_baselines_run_beside_each_other_as_many_as_trials_may(tmp_path):
    """One after the other before, whatever `max_concurrent`."""

    def play(turns, end, own):
        (first, costs), (second, _) = next(turns), next(turns)
        assert next(turns) is None, "there is room for two"
        assert own[first.key].space != own[second.key].space
        assert (
            costs.total(first.path)
            == count_cost(own[first.key].space, own[first.key].space.architecture(first.path))["num_macs"]
        )
        end(second)
        third, _ = next(turns)
        assert next(turns) is None
        end(first)
        end(third)
        assert next(turns, "none left") == "none left"

    night = Night(three(tmp_path), at_once=2)
    night.run(play)
    assert night.said.getvalue().count("failed: lost") == 3


@pytest.mark.parametrize("error", [RunError("lost"), OSError("lost"), RuntimeError("Failed to export the model")])
def test_one_whose_width_cannot_be_chosen_is_said_and_holds_up_no_other(tmp_path, monkeypatch, error):
    ran = []

    def fails(job, baseline):
        if baseline.beside == "macs-2M":
            raise error
        return prepared(job, baseline)

    monkeypatch.setattr("orchestrator.trial.baselines.prepared", fails)
    night = Night(three(tmp_path))

    def play(turns, end, own):
        for trial, _ in turns:
            ran.append(trial.key)
            end(trial)

    night.run(play)
    assert len(set(ran)) == 2
    assert f"macs-2M-mobilenet-v2: no baseline: {reason_of(error)}" in night.said.getvalue()


def test_one_stands_beside_all_networks_of_a_front_that_ask_for_its_width(tmp_path):
    """Where none was narrow enough, each network of a front had a copy, measured and told of once more."""
    job, ran = three(tmp_path, scale=1e-3), []

    def play(turns, end, own):
        for trial, _ in turns:
            ran.append(trial.key)
            store = own[trial.key].trial_store(trial)
            store.write(RESULT_FILE, to_sealed(own[trial.key].result(trial, cost=1e5, top1=0.6)).encode())
            end(trial)

    Night(job).run(play)
    results = list(stored_results(job).values())
    assert ran == ["macs-mobilenet-v2-x0.1"]
    assert [result.trial for result in stored_baselines(job, results)] == ran
    assert missing_baselines(job, results) == []


def test_one_whose_device_went_away_is_left_for_the_same_command(tmp_path):
    night = Night(three(tmp_path))
    night.run(lambda turns, end, own: None)
    assert night.said.getvalue().count("no baseline: no node measures its target now") == 3


def test_the_same_network_at_the_same_width_is_trained_once(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    limits = {"macs": [2e5], "params": [1e5]}
    changes = {"targets": ["macs", "params"], "sweep": {"budget_counts": limits}, "storage": str(tmp_path)}
    job = Job(resolved(check_run({**definition, **changes, "baselines": ["mobilenet-v2"]}, "mine")), "")
    first, second = plan_trials(job.run)
    inner, path = scaled(job, known_network("mobilenet-v2"), WIDTHS[12])
    counts = count_cost(inner.space, inner.space.architecture(path))
    for trial, cost in ((first, counts["num_macs"]), (second, counts["num_params"])):
        result = job.result(trial, cost=float(cost), budget=float(cost), top1=0.9, architecture="some")
        job.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())

    def play(turns, end, own):
        one, _ = next(turns)
        assert next(turns) is None, "it waits for the weights of the other"
        store = own[one.key].trial_store(one)
        store.write(WEIGHTS_FILE, b"weights")
        write_record(store, OUTCOME_FILE, Outcome("some", 0.9, 10, 10, checksum(b"weights"), 0))
        end(one)
        other, _ = next(turns)
        assert other.target != one.target
        assert stored_outcome(own[other.key].trial_store(other)) == stored_outcome(store)
        end(other)

    Night(job, at_once=2).run(play)


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
    made = prepared(job, baseline)
    inner, trial = made.job, made.trial
    twin = replace(trial, key="twin")
    inner.trial_store(twin).write(WEIGHTS_FILE, b"flipped")
    outcome = Outcome("some", 0.9, 10, 10, checksum(b"weights"), 0)
    write_record(inner.trial_store(twin), OUTCOME_FILE, outcome)
    take_training(inner, trial, twin)
    assert not inner.trial_store(trial).exists(OUTCOME_FILE)
