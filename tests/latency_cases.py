"""A made-up table and a made-up measuring run with known truth, for the tests of the latency room."""

import random
from collections.abc import Mapping

from latency.measuring.job import Job, JobResult, Progress
from latency.measuring.sentinels import SentinelStats
from latency.measuring.summary import Stats
from latency.tables.calibrate import Calibration
from latency.tables.fingerprint import fingerprint
from latency.tables.table import LatencyTable, Row
from latency.target import Target, load_target
from supernet.presets import load_space
from supernet.space import Space

SENTINELS = {"cache": 0.1, "stream": 0.3}


def true_costs(space: Space, seed: int = 0) -> dict[tuple[int, int], float]:
    """Return made-up milliseconds per (layer, candidate): the same for layers of one row after the first."""
    found: dict[tuple[int, int], float] = {}
    for index, layer in enumerate(space.layers):
        same = random.Random(f"{seed} {layer.row} {layer.in_channels} {layer.stride}")
        for candidate, op in enumerate(layer.candidates):
            found[index, candidate] = 0.0 if op.name == "zero" else 0.1 + same.random()
    return found


def made_up_table(space: Space | None = None, target: Target | None = None, seed: int = 0) -> LatencyTable:
    """Return a table of this machine with made-up rows, scale 1.1, an offset of 0.2 ms and 0.05 ms per million
    parameters."""
    space, target = space or load_space("digits"), target or load_target("ort-cpu-1t")
    rows = tuple(
        Row(space.layers[i].name, space.layers[i].candidates[c].short, ms, error_ms=0.001, num_samples=50)
        for (i, c), ms in true_costs(space, seed).items()
    )
    calibration = Calibration(scale=1.1, offset_ms=0.2, params_ms=0.05, rms=0.01)
    return LatencyTable(
        space, target, rows, calibration, fingerprint(space, target), SENTINELS, {"num_rounds": 9, "row_noise": 0.01}
    )


def stats(ms: float, error: float = 0.001) -> Stats:
    """Return the figures of an item with a latency and a relative error."""
    return Stats(ms, error * ms, error, 1.1 * ms, 1.02 * ms, 100, 90)


def made_up_result(latencies: Mapping[str, float], **changes: object) -> JobResult:
    """Return a quiet run that found these milliseconds."""
    quiet = {
        "stats": {key: stats(ms) for key, ms in latencies.items()},
        "sentinels": {name: SentinelStats(ms, 0.001) for name, ms in SENTINELS.items()},
        "clean_share": 0.9,
        "moved": 0.01,
        "num_rounds": 10,
        "num_phases": 5,
        "num_unlike": 0,
        "parity": {},
        "prepare_seconds": 1.0,
        "measure_seconds": 5.0,
    }
    return JobResult(**{**quiet, **changes})  # type: ignore[arg-type]


def simulated_run(job: Job, progress: Progress, scale: float = 1.0, overhead_ms: float = 0.0) -> JobResult:
    """Measure a job on a machine where chains cost the sum of true costs, and networks `scale` times that."""
    assert job.space is not None
    costs = true_costs(job.space)
    latencies = {}
    for item in job.items:
        total = sum(costs[choice] for choice in item.choices)
        latencies[item.key] = scale * total + overhead_ms if item.whole else total
    progress("measuring", 1.0)
    return made_up_result(latencies)
