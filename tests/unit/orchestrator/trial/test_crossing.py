"""The cross table's step: which networks go to which targets, as which files, and what a restart measures again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from repository import ROOT
from safetensors.torch import save

from latency.measuring.measure import Measurement
from orchestrator.data.build import build
from orchestrator.plan.baselines import WIDTHS, baselines_of, chosen_width, keep_cost, made_from, stored_baselines
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.cross import crossed, missing_columns, stored_columns
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import (
    ONNX_FILE,
    OUTCOME_FILE,
    PROGRAM_FILE,
    RESULT_FILE,
    WEIGHTS_FILE,
    Job,
    Trial,
    plan_trials,
)
from orchestrator.trial.crossing import MeasureAll, as_at_home, file_for, fill_columns
from orchestrator.trial.files import make_files
from orchestrator.trial.records import Outcome, checksum, write_record
from supernet.errors import RunError, reason_of
from supernet.network import build_network
from supernet.plain import to_sealed
from supernet.presets import read_preset

TARGETS = ["ort-cpu-1t", "ort-cpu-int8-1t", "macs"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("data") / "digits")
    build("digits", folder, validation_fraction=0.05, test_fraction=0.05, seed=0)
    return folder


def job_of(root: Path, data: str = "", targets: tuple[str, ...] = tuple(TARGETS), **measure: object) -> Job:
    definition, _ = read_preset(str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "small_sweep.yaml"))
    changes = {"name": "n", "targets": list(targets), "sweep": {"budget_fractions": [0.5]}, "storage": str(root)}
    return Job(resolved(check_run({**definition, **changes, "measure": measure}, "n")), data)


def results_of(job: Job) -> list[TrialResult]:
    numbers = {"cost": 1.0, "top1": 0.9, "architecture": "some"}
    return [job.result(trial, **numbers) for trial in plan_trials(job.run)]


class Device:
    """Measures made-up figures, and keeps what it was given."""

    def __init__(self, broken: str = "", noise: str = "") -> None:
        self.broken, self.noise, self.given = broken, noise, []

    def __call__(self, target: str, file: str, contents: dict[str, bytes]) -> dict[str, Measurement]:
        if target == self.broken:
            raise RunError("no such board")
        self.given.append((target, file, dict(contents)))
        return {trial: Measurement(1.0, 0.01, 1.1, 100, None, self.noise) for trial in contents}


def judge(target: str, file: str, content: bytes) -> float:
    return 0.75


def unasked(target: str, file: str, content: bytes) -> float:
    raise AssertionError("nobody reads it: the column is measured again")


def failing(error: Exception) -> MeasureAll:
    def measure(target: str, file: str, contents: Mapping[str, bytes]) -> dict[str, Measurement]:
        raise error

    return measure


def store_network(job: Job, trial: Trial, seed: int) -> None:
    """Leave what a trial leaves of its network."""
    torch.manual_seed(seed)
    architecture = job.space.architecture([0] * len(job.space.positions))
    network = build_network(job.space, architecture).eval()
    weights, store = save(network.state_dict()), job.trial_store(trial)
    store.write(WEIGHTS_FILE, weights)
    write_record(store, OUTCOME_FILE, Outcome(architecture.id, 0.9, 90, 90, checksum(weights), 0))
    make_files(job, trial, lambda: network, lambda news: None)


def test_a_network_goes_to_another_target_as_it_would_be_delivered_for_it(tmp_path: Path, data: str) -> None:
    def is_int8(content: bytes) -> bool:
        return any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(content).graph.node)

    job = job_of(tmp_path, data)
    fp32, int8, counted = plan_trials(job.run)
    for seed, trial in enumerate((fp32, int8, counted)):
        store_network(job, trial, seed)
    own = job.trial_store(fp32)
    assert file_for(job, fp32, job.target("ort-cpu-1t")) == own.read(ONNX_FILE)
    assert is_int8(file_for(job, fp32, job.target("ort-cpu-int8-1t")))
    assert not is_int8(file_for(job, int8, job.target("ort-cpu-1t")))
    assert file_for(job, counted, job.target("ort-cpu-1t")) == job.trial_store(counted).read(ONNX_FILE)
    other = job_of(tmp_path, data, ("ort-cpu-1t", "torch-cpu-1t"))
    assert file_for(other, fp32, other.target("torch-cpu-1t")) == own.read(PROGRAM_FILE)
    more = onnx.load_from_string(file_for(job, fp32, replace(job.target("ort-cpu-1t"), batch=3)))
    assert more.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3

    device = Device()
    assert list(fill_columns(job, results_of(job), ["ort-cpu-1t"], device, judge)) == [("ort-cpu-1t", "")]
    ((target, file, contents),) = device.given
    assert (target, file, set(contents)) == ("ort-cpu-1t", ONNX_FILE, {trial.key for trial in (fp32, int8, counted)})
    assert stored_columns(job)["ort-cpu-1t"].top1s == {}
    noisy = fill_columns(job, results_of(job), ["ort-cpu-int8-1t"], Device(noise="load 3"), unasked)
    assert list(noisy) == [("ort-cpu-int8-1t", "load 3")]
    assert list(fill_columns(job, results_of(job), ["ort-cpu-int8-1t"], device, judge)) == [("ort-cpu-int8-1t", "")]
    assert stored_columns(job)["ort-cpu-int8-1t"].top1s == {fp32.key: 0.75, counted.key: 0.75}


def stored(job: Job) -> None:
    """Let any file of a trial be there, as small as can be."""
    for trial in plan_trials(job.run):
        for name in (ONNX_FILE, PROGRAM_FILE):
            content = f"{trial.key} {name}".encode()
            job.trial_store(trial).write(f"{name}.sha256", checksum(content).encode())
            job.trial_store(trial).write(name, content)


def test_a_machine_that_moved_since_leaves_own_networks_where_their_results_say() -> None:
    """Seen: 0.91 ms in the table, and 0.52 ms of the same file on the front above it."""
    found = {
        name: Measurement(ms, 0.1, 2 * ms, 100, None, "") for name, ms in (("own", 2.0), ("more", 4.2), ("other", 3.0))
    }
    figures = as_at_home(found, {"own": 1.0, "more": 2.0})
    assert [figures[name].latency_ms for name in found] == pytest.approx([2.0 / 2.05, 4.2 / 2.05, 3.0 / 2.05])
    assert (figures["other"].error_ms, figures["other"].median_ms) == pytest.approx((0.1 / 2.05, 6.0 / 2.05))
    assert as_at_home(found, {})["other"].latency_ms == 3.0


def test_a_column_is_measured_once_and_again_with_other_networks(tmp_path: Path) -> None:
    job = job_of(tmp_path, targets=("ort-cpu-1t", "torch-cpu-1t"))
    stored(job)
    results, device = results_of(job), Device(broken="torch-cpu-1t")
    assert missing_columns(job, results) == ["ort-cpu-1t", "torch-cpu-1t"]
    told = dict(fill_columns(job, results, missing_columns(job, results), device, judge))
    assert told == {"ort-cpu-1t": "", "torch-cpu-1t": "no such board"}
    assert missing_columns(job, results) == ["torch-cpu-1t"]
    for error in (OSError("Connection timed out"), RuntimeError("Failed to export the model")):
        told = dict(fill_columns(job, results, ["torch-cpu-1t"], failing(error), judge))
        assert told == {"torch-cpu-1t": reason_of(error)}
    assert dict(fill_columns(job, results, missing_columns(job, results), Device(), judge)) == {"torch-cpu-1t": ""}
    assert missing_columns(job, results) == []
    assert set(stored_columns(job)) == {"ort-cpu-1t", "torch-cpu-1t"}
    more = [*results, replace(results[0], trial="new", cost=0.5, top1=0.8, architecture="other")]
    assert missing_columns(job, more) == ["ort-cpu-1t", "torch-cpu-1t"]


def test_a_noisy_column_is_shown_told_and_measured_again(tmp_path: Path) -> None:
    """Final before, and no word of how to get another."""
    job = job_of(tmp_path, targets=("ort-cpu-1t", "torch-cpu-1t"))
    stored(job)
    results = results_of(job)
    assert dict(fill_columns(job, results, ["ort-cpu-1t"], Device(noise="load 3"), judge)) == {"ort-cpu-1t": "load 3"}
    assert stored_columns(job)["ort-cpu-1t"].noise == "load 3"
    assert missing_columns(job, results) == ["ort-cpu-1t", "torch-cpu-1t"]
    assert dict(fill_columns(job, results, ["ort-cpu-1t"], Device(), judge)) == {"ort-cpu-1t": ""}
    assert missing_columns(job, results) == ["torch-cpu-1t"]


def test_there_is_no_table_of_one_target_of_one_network_or_where_none_is_wanted(tmp_path: Path) -> None:
    alone = job_of(tmp_path, targets=("ort-cpu-1t", "macs"))
    assert missing_columns(alone, results_of(alone)) == []
    unwanted = job_of(tmp_path, targets=("ort-cpu-1t", "torch-cpu-1t"), cross_table=False)
    assert missing_columns(unwanted, results_of(unwanted)) == []
    single = job_of(tmp_path, targets=("ort-cpu-1t", "torch-cpu-1t"))
    assert missing_columns(single, results_of(single)[:1]) == []


def test_a_baseline_goes_to_every_target_beside_the_front_and_is_made_of_its_own_job(tmp_path: Path, data: str) -> None:
    job = job_of(tmp_path, data, ("ort-cpu-1t", "torch-cpu-1t"))
    job = Job({**job.config, "baselines": ["mobilenet-v2-32px"]}, data)
    results = results_of(job)
    stored(job)
    (baseline, *_) = baselines_of(job, results)
    for width in WIDTHS:
        keep_cost(job, baseline, width, 10 * width)
    inner, trial = made_from(job, baseline, chosen_width(job, baseline))
    assert inner.space.width_mult == WIDTHS[0]
    store_network(inner, trial, 0)
    known = inner.result(trial, cost=1.0, top1=0.5, architecture="known", baseline=trial.baseline)
    inner.trial_store(trial).write(RESULT_FILE, to_sealed(known).encode())
    assert stored_baselines(job, results) == [known]

    device, both = Device(), [*results, known]
    assert dict(fill_columns(job, both, ["ort-cpu-1t"], device, judge)) == {"ort-cpu-1t": ""}
    ((_, _, contents),) = device.given
    assert set(contents) == {*(trial.key for trial in plan_trials(job.run)), trial.key}
    assert contents[trial.key] == inner.trial_store(trial).read(ONNX_FILE)
    alone = [result for result in both if result.target == "ort-cpu-1t"]
    assert missing_columns(job, both) == ["torch-cpu-1t"]
    single = job_of(tmp_path / "single", data, ("ort-cpu-1t",))
    assert missing_columns(single, alone) == ["ort-cpu-1t"], "one target is enough to time a baseline beside its rival"


def test_only_fronts_are_crossed(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    better = results_of(job)[0]
    beaten = replace(better, trial="beaten", cost=2.0, top1=0.8)
    failed = replace(better, trial="failed", status="failed", cost=None, reason="lost")
    assert crossed([better, beaten, failed]) == [better]
