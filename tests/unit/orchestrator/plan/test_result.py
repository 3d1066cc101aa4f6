"""TrialResult: its fields are the one table that JSON, MLflow and the reports are made from."""

import dataclasses
import json
import subprocess
import sys

import pytest
from scipy.stats import binomtest

from orchestrator.plan.result import TrialResult, columns, outward_name, told, wilson
from orchestrator.registry.values import UNKEPT, from_tags, metrics_of, params_of, to_tags
from orchestrator.report.rows import front_rows
from supernet.errors import InputError
from supernet.plain import read, read_json, to_json, to_plain

DONE = TrialResult(
    sweep="night",
    trial="ort-cpu-1t-b0.5",
    target="ort-cpu-1t",
    objective="budget",
    seed=3,
    budget=1.5,
    latency_weight=0.25,
    predicted_cost=1.4,
    cost=1.45,
    cost_median=1.5,
    cost_error=0.02,
    top1=0.9123456789012345,
    top5=0.99,
    num_test_images=360,
    validation_top1=0.98,
    num_validation_images=180,
    shared_loss=1.25,
    random_loss=1.5,
    num_random=8,
    trained_top1=0.94,
    torch_top1=0.93,
    num_params=12345,
    num_macs=678901,
    peak_memory_mib=0.75,
    architecture="k5e6-k3e3-skip",
    file="model.onnx",
    file_sha256="abc",
    file_bytes=1234,
    data="f00d",
    num_corrections=1,
    baseline="mobilenet-v2-w0.5",
    reason="none",
    doubt="in doubt",
)
COUNTED = dataclasses.replace(DONE, unit="1", cost=5e6, cost_error=0.0)
FIELDS = dataclasses.fields(TrialResult)


def test_json_there_and_back() -> None:
    failed = TrialResult("s", "t", "x", "mul_log", 0, status="failed", reason="node lost")
    for result in (DONE, failed, dataclasses.replace(DONE, model_uri="models:/night-ort/1"), COUNTED):
        assert read_json(TrialResult, to_json(result), "result.json") == result
    assert DONE.done
    assert not failed.done
    assert not failed.finished
    rejected = dataclasses.replace(DONE, status="rejected")
    assert (rejected.done, rejected.finished) == (False, True)
    assert failed.cost is None


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_is_told_kept_and_shown(field: dataclasses.Field[object]) -> None:
    """A field that is added without saying where it goes fails here: this walks all of them."""
    value = getattr(DONE, field.name)
    assert told(DONE)[field.name] == value
    assert front_rows([DONE])[0].to_plain()[field.name] == value
    if field.name not in UNKEPT:
        assert value not in (None, ""), f"give {field.name} a value in DONE, so that it is tested"
        assert to_tags(DONE)[outward_name(field, "ms")] == (repr(value) if isinstance(value, float) else str(value))
    role = field.metadata.get("mlflow")
    assert (outward_name(field, "ms") in metrics_of(DONE)) == (role == "metric")
    assert (outward_name(field, "ms") in params_of(DONE)) == (role == "param")
    if field in columns([DONE], wide=True):
        assert front_rows([DONE])[0].cell(field)


@pytest.mark.parametrize("result", [DONE, COUNTED, dataclasses.replace(DONE, budget=None, doubt="", status="rejected")])
def test_a_version_in_mlflow_gives_the_result_back_to_the_last_digit(result: TrialResult) -> None:
    assert from_tags(to_tags(result), "models:/a/1") == dataclasses.replace(result, model_uri="models:/a/1")


def test_only_milliseconds_are_called_milliseconds() -> None:
    assert {"latency_ms", "predicted_ms", "latency_median_ms", "latency_error_ms"} <= set(metrics_of(DONE))
    assert {"cost", "predicted_cost", "cost_median", "cost_error"} <= set(metrics_of(COUNTED))
    assert params_of(DONE)["budget_ms"] == params_of(COUNTED)["budget"] == "1.5"
    assert not [name for name in (*to_tags(COUNTED), *metrics_of(COUNTED)) if name.endswith("_ms")]


def test_unknown_and_missing_fields_are_refused() -> None:
    with pytest.raises(InputError, match=r"result\.json: unknown key 'costs'; did you mean 'cost'"):
        read(TrialResult, to_plain(DONE) | {"costs": 1.0}, "result.json")
    short = to_plain(DONE)
    del short["target"]
    with pytest.raises(InputError, match=r"result\.json\.target"):
        read(TrialResult, short, "result.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "finished"),
        ("unit", "s"),
        ("top1", float("nan")),
        ("top1", 1.2),
        ("cost", float("inf")),
        ("num_test_images", -1),
        ("trial", "../x"),
        ("sweep", ""),
    ],
)
def test_nonsense_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"result\.json\.{name}"):
        read(TrialResult, to_plain(DONE) | {name: value}, "result.json")


@pytest.mark.parametrize(("hits", "number"), [(26, 45), (0, 10), (10, 10), (9421, 10000), (1, 1)])
def test_intervals_are_those_of_scipy(hits: int, number: int) -> None:
    reference = binomtest(hits, number).proportion_ci(0.95, method="wilson")
    assert wilson(hits / number, number) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_an_accuracy_is_told_with_the_images_behind_it() -> None:
    few = dataclasses.replace(DONE, top1=26 / 45, num_test_images=45)
    low, high = told(few)["top1_interval"]
    assert (round(low, 2), round(high, 2)) == (0.43, 0.71)
    assert to_tags(few)["top1_interval"] == f"{low:.4f} to {high:.4f}"
    assert metrics_of(few)["top1_low"] == low
    assert json.loads(json.dumps(told(few))) == told(few)
    assert "top1_interval" not in told(dataclasses.replace(few, num_test_images=None))


def test_importing_results_and_data_pulls_in_neither_ray_nor_mlflow() -> None:
    code = (
        "import sys, orchestrator.plan.result; assert 'torch' not in sys.modules;"
        "import orchestrator.data.batches, orchestrator.data.build;"
        "import orchestrator.registry.store, orchestrator.report.pareto;"
        "print(sorted({'ray', 'mlflow', 'matplotlib', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
