"""TrialResult: JSON there and back, and refusal of what nothing downstream understands."""

import dataclasses
import json
import subprocess
import sys

import pytest

from orchestrator.plan.result import TrialResult
from supernet.errors import InputError

DONE = TrialResult(
    sweep="night",
    trial="ort-cpu-1t-b0.5",
    target="ort-cpu-1t",
    objective="budget",
    seed=3,
    budget_ms=1.5,
    predicted_ms=1.4,
    latency_ms=1.45,
    latency_median_ms=1.5,
    latency_error_ms=0.02,
    top1=0.97,
    validation_top1=0.98,
    num_params=12345,
    num_macs=678901,
    architecture="k5e6-k3e3-skip",
)


def test_json_there_and_back() -> None:
    failed = TrialResult(
        sweep="s", trial="t", target="x", objective="mul_log", seed=0, status="failed", reason="node lost"
    )
    for result in (
        DONE,
        failed,
        dataclasses.replace(DONE, model_uri="models:/night-ort/1"),
        dataclasses.replace(DONE, unit="1"),
    ):
        assert TrialResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert DONE.done
    assert not failed.done
    assert failed.latency_ms is None


def test_unknown_and_missing_fields_are_refused() -> None:
    with pytest.raises(InputError, match="'latancy_ms'; did you mean 'latency_ms'"):
        TrialResult.from_dict(DONE.to_dict() | {"latancy_ms": 1.0})
    short = DONE.to_dict()
    del short["target"]
    with pytest.raises(InputError, match="missing target"):
        TrialResult.from_dict(short)


@pytest.mark.parametrize(("name", "value"), [("status", "finished"), ("unit", "s")])
def test_unknown_status_or_unit_is_refused(name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{name} '{value}'"):
        TrialResult.from_dict(DONE.to_dict() | {name: value})


def test_importing_results_and_data_pulls_in_neither_ray_nor_mlflow() -> None:
    code = (
        "import sys, orchestrator.plan.result; assert 'torch' not in sys.modules;"
        "import orchestrator.data.batches, orchestrator.data.build;"
        "import orchestrator.registry.store, orchestrator.report.pareto;"
        "print(sorted({'ray', 'mlflow', 'matplotlib', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
