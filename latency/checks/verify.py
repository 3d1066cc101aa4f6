"""Predicted against measured, on networks that were not used to calibrate: does the table hold?

The calibration networks are measured again beside them, so that what the machine moved by since is told apart from
what the table says wrongly. Here it is measured; `latency.checks.verdict` concludes.
"""

from collections.abc import Callable

from latency.checks.probe_networks import random_paths, structured_paths
from latency.checks.verdict import Probe, Report, anchor, judge
from latency.measuring.job import Item, Job, JobResult, Progress, plan_for
from latency.measuring.process import run_job
from latency.tables.calibrate import CalibrationNetwork
from latency.tables.estimate import predict
from latency.tables.table import LatencyTable
from supernet.cost import macs_table, params_table
from supernet.errors import InputError
from supernet.space import Architecture, Path, Space

SECONDS = 60.0
"""Measuring time wanted, unless another is asked for."""
TOLERANCE = 0.006
"""Measuring goes on until the networks are known to this: the ruler must be finer than what it judges."""


def verify(
    table: LatencyTable,
    *,
    num_random: int = 30,
    seed: int = 0,
    seconds: float = SECONDS,
    progress: Progress = lambda text, share: None,
    run: Callable[[Job, Progress], JobResult] = run_job,
) -> Report:
    """Measure fresh networks and compare them with the table's predictions.

    Args:
        table: A measured table of this machine (see `tables.file.load_table`).
        num_random: Random networks to draw.
        seed: Of the draw.
        seconds: Measuring time wanted.
        progress: Called with what is being done and its share done.
        run: Measures a job; another one simulates it.

    Raises:
        InputError: If calibration took all networks of the space.
        NotRunnable: If this machine cannot run the target.
        RunError: If the measuring process fails.
    """
    space = table.space
    named = [("random", str(i), path) for i, path in enumerate(random_paths(space, num_random, seed))]
    named += [("structured", name, path) for name, path in structured_paths(space).items()]
    if not named:
        raise InputError(
            f"space {space.name}: calibration takes all of its networks ({space.num_architectures}), so none is "
            "left to predict; verify a space with more"
        )
    keys = [f"{kind} {name}" for kind, name, _ in named]
    paths = {key: path for key, (_, _, path) in zip(keys, named, strict=True)}
    paths |= {anchor(known.architecture): _path(space, known) for known in table.calibration.networks}
    items = [
        Item(key, choices=space.kept(path), input_shape=space.input_size, whole=True) for key, path in paths.items()
    ]
    result = run(
        Job(table.target, tuple(items), space, plan_for(table.target, seconds, tolerance=TOLERANCE), seed=seed),
        progress,
    )
    probes = [_probe(table, kind, name, path, result, key) for key, (kind, name, path) in zip(keys, named, strict=True)]
    return judge(table, probes, result)


def _path(space: Space, known: CalibrationNetwork) -> Path:
    return space.path(Architecture.parse(known.architecture))


def _probe(table: LatencyTable, kind: str, name: str, path: Path, result: JobResult, key: str) -> Probe:
    architecture = table.space.architecture(path)
    predicted, bar = predict(table, architecture)
    return Probe(
        kind=kind,
        name=name,
        architecture=architecture.id,
        predicted_ms=predicted,
        bar_ms=bar,
        sum_ms=table.sum_ms(architecture),
        num_params=params_table(table.space).total(path),
        num_macs=macs_table(table.space).total(path),
        measured_ms=result.stats[key].latency_ms,
        error=result.stats[key].relative_error,
        repeat=result.stats[key].repeat,
    )
