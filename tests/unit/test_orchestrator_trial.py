"""The gate: what makes a finished network doubtful."""

import pytest

from latency.measure import Measurement
from orchestrator.trial import _doubt


def measured(latency_ms, noise=""):
    return Measurement(latency_ms, 0.01, latency_ms * 1.1, 50, 1e-6, noise)


@pytest.mark.parametrize(
    ("measurement", "predicted", "budget", "export_error", "said"),
    [
        (measured(1.0), 1.02, 1.1, 1e-6, ""),
        (measured(1.0), 1.02, None, 1e-6, ""),
        (measured(1.0), 0.8, 1.1, 1e-6, "predicted 0.8 ms (+25%)"),
        (measured(1.2), 1.15, 1.1, 1e-6, "over the budget of 1.1 ms"),
        (measured(1.0), 1.02, 1.1, 0.02, "ONNX file differs"),
        (measured(1.0, "load 3"), 1.02, 1.1, 1e-6, "noisy measurement: load 3"),
    ],
)
def test_doubt_names_what_does_not_agree(measurement, predicted, budget, export_error, said):
    doubt = _doubt(measurement, predicted, budget, export_error)
    assert said in doubt
    assert bool(doubt) == bool(said)
