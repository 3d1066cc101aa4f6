"""Fills a latency table: which chains of layers to measure, in one run, and what follows from their times.

A candidate's cost is measured in context: the chain of a typical layer before it and itself, less the chain before it.
An isolated block would pay for converting its input and output, which a network pays once. Between two calls as
much memory is read as a network has weights, because in a network a block never finds its own in the near caches.
"""

import datetime
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from latency.errors import ForeignTable, MachineTooNoisy
from latency.graphs.model import Choice
from latency.measuring.job import Item, Job, JobResult, Progress, noise_reason, plan_for, run_job
from latency.tables.calibrate import CalibrationNetwork, fit
from latency.tables.fingerprint import fingerprint
from latency.tables.table import LatencyTable, Row, load_table, table_path, write_table
from latency.target import Target
from supernet.cost import LayerTrace, macs_table, params_table, trace
from supernet.errors import InputError
from supernet.rows import ZERO
from supernet.space import Path, Space

NUM_CALIBRATION_NETWORKS = 16
CALIBRATION_SEED = 20190
"""Calibration networks are the same in every table of a space; verification draws from other seeds."""

HEAVINESS, HEAVINESS_SPREAD = (-1.0, 1.5), 0.2
"""Of the layers of a calibration network: the range at its two ends, and how far they lie about the line between. From
0 to 1 are the candidates in the order of their MACs; below is the lightest, above the heaviest."""

WEIGHT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}

MAX_NETWORK_ERROR, MAX_CHAIN_ERROR = 0.02, 0.05
"""Standard errors of a whole network, measured or added up from those of its chains, and of a single chain must be no
more than these, or the table is not written."""

ROW_TOLERANCE = 0.003
"""Chains are settled at this, times the root of the number of positions: errors of rows add up in quadrature, so each
may be larger where a network is made of more. 0.7 % at 6 positions, 1.4 % at 21."""


@dataclass(frozen=True)
class Chains:
    """What to measure for one candidate: the chain that ends with it, and the chain before it.

    Attributes:
        layer: Its layer.
        op: Short name of the candidate.
        chain: A typical layer before it, then the candidate in every equal layer: what they have in common is
            measured once, and as often as a network may have it in a row.
        before: The chain without the candidate; empty at the first layer.
    """

    layer: str
    op: str
    chain: tuple[Choice, ...]
    before: tuple[Choice, ...]

    @property
    def num_layers(self) -> int:
        """How often the chain has the candidate."""
        return len(self.chain) - len(self.before)


def plan_chains(space: Space) -> list[Chains]:
    """Return the chains of every candidate of every layer, Zero excepted (it costs nothing).

    Layers with the same candidates, shapes, stride and shortcut, behind the same layer that cannot be skipped, are
    equal. Where there are several they may all be skipped, so their output fits the next one's input.
    """
    traces = trace(space)
    equal: dict[object, list[int]] = {}
    keys: list[object] = []
    prefixes: list[tuple[Choice, ...]] = []
    prefix: tuple[Choice, ...] = ()
    for index, layer in enumerate(space.layers):
        key = (
            *(layer.in_channels, layer.out_channels, layer.stride, layer.residual, layer.candidates),
            *(traces[index].in_shape, prefix),
        )
        equal.setdefault(key, []).append(index)
        keys.append(key)
        prefixes.append(prefix)
        if all(op.name != "zero" for op in layer.candidates):
            prefix = ((index, _typical(traces[index])),)
    return [
        Chains(layer.name, op.short, (*before, *((same, candidate) for same in equal[key])), before)
        for layer, key, before in zip(space.layers, keys, prefixes, strict=True)
        for candidate, op in enumerate(layer.candidates)
        if op.name != "zero"
    ]


def _typical(layer: LayerTrace) -> int:
    """Return the candidate in the middle by MACs: it leaves buffers of the size that a network has, in the caches."""
    order = sorted(range(len(layer.num_macs)), key=layer.num_macs.__getitem__)
    return order[len(order) // 2]


def calibration_paths(space: Space) -> list[Path]:
    """Return the smallest and the largest network by MACs, and some that go from light to heavy, or back, between.

    Uniform random networks would not do: they cost nearly alike, and have parameters in proportion to their cost. These
    are shallow and deep, and wide early (much cost, few parameters) or late. At most half of a small space is taken, so
    that some are left to verify with.
    """
    wanted = min(NUM_CALIBRATION_NETWORKS, max(2, space.num_architectures // 2))
    ranked = [sorted(range(len(row)), key=row.__getitem__) for row in macs_table(space).candidates]
    rng = random.Random(CALIBRATION_SEED)
    found = dict.fromkeys([tuple(order[0] for order in ranked), tuple(order[-1] for order in ranked)])
    for _ in range(10 * NUM_CALIBRATION_NETWORKS):
        if len(found) >= wanted:
            break
        first, last = rng.uniform(*HEAVINESS), rng.uniform(*HEAVINESS)
        path = []
        for index, order in enumerate(ranked):
            heaviness = rng.gauss(first + (last - first) * index / max(1, len(ranked) - 1), HEAVINESS_SPREAD)
            path.append(order[max(0, min(len(order) - 1, math.floor(heaviness * len(order))))])
        found[tuple(path)] = None
    return list(found)


def network_choices(space: Space, path: Path) -> tuple[Choice, ...]:
    """Return the layers of a whole network: Zero is gone."""
    walk = enumerate(space.along(path, 0))
    return tuple((number, index) for number, (layer, index) in walk if layer.candidates[index] != ZERO)


def chain_key(chain: Sequence[Choice]) -> str:
    """Return the name of a chain in a job: `3.0-5.2` is candidate 0 of layer 3, then candidate 2 of layer 5."""
    return "-".join(f"{layer}.{candidate}" for layer, candidate in chain)


def build_table(
    space: Space,
    target: Target,
    folder: FilePath | str,
    *,
    seconds: float | None = None,
    progress: Progress = lambda text, share: None,
    run: Callable[[Job, Progress], JobResult] = run_job,
) -> LatencyTable:
    """Measure a table and write it, or return the valid one that is there.

    Killed and called again, it goes on with the samples that it had.

    Args:
        space: What to measure.
        target: On what; it must be a measured target that this machine can run.
        folder: Where tables are kept.
        seconds: Measuring time wanted, beside preparing the models; by default 5 to 60, by the number of chains.
        progress: Called with what is being done and its share done.
        run: Measures a job; another one simulates it.

    Raises:
        NotRunnable: If this machine cannot run the target.
        MachineTooNoisy: If the run does not agree with itself; nothing is written.
    """
    if not target.measured:
        raise InputError(f"target {target.name}: its costs are counted or published; there is nothing to measure")
    if table_path(folder, space, target).is_file():
        try:
            return load_table(folder, space, target)
        except (ForeignTable, InputError):
            pass  # to be replaced
    plans, paths = plan_chains(space), calibration_paths(space)
    networks = {path: network_choices(space, path) for path in paths}
    items = _items(space, target, plans, list(networks.values()))
    wanted = max(5.0, min(60.0, 0.35 * len(items))) if seconds is None else seconds
    work_folder = FilePath(folder) / "unfinished" / f"{space.name}@{target.name}"
    job = Job(
        target=target,
        items=items,
        space=space,
        plan=plan_for(target, wanted, tolerance=ROW_TOLERANCE * math.sqrt(len(space.positions))),
        work_folder=str(work_folder),
    )
    result = run(job, progress)
    whole = {chain_key(chain) for chain in networks.values()}
    disturbed = noise_reason(result, (), 0.0)
    if disturbed:
        _forget(work_folder, "samples-*")  # more would not mend these; where items only repeat badly, they do
    reason = disturbed or (
        noise_reason(result, sorted(whole), MAX_NETWORK_ERROR)
        or noise_reason(result, sorted(result.stats.keys() - whole), MAX_CHAIN_ERROR)
    )
    table = assemble(space, target, plans, networks, result)
    noise = row_noise(plans, networks.values(), result)
    if not reason and not noise <= MAX_NETWORK_ERROR:
        reason = f"the errors of its rows add up to {noise:.1%} of a network ({MAX_NETWORK_ERROR:.1%} allowed)"
    if reason:
        raise MachineTooNoisy(
            f"latency table {space.name} on {target.name} not written: {reason}. Other processes disturb this "
            f"machine; build it again when it is quieter, or with more time (--seconds {2 * wanted:g})"
        )
    write_table(table, folder)
    _forget(work_folder, "*")
    return table


def row_noise(plans: Sequence[Chains], networks: Iterable[Sequence[Choice]], result: JobResult) -> float:
    """Return what the errors of rows add up to in a whole network, as a fraction of it: of the worst network.

    A network takes some chains several times, and the same chain with plus and minus: what a chain is off by counts as
    often.
    """
    of = {plan.chain[-1 - i]: plan for plan in plans for i in range(plan.num_layers)}
    shares = []
    for choices in networks:
        times: dict[tuple[Choice, ...], float] = defaultdict(float)
        for choice in choices:
            plan = of[choice]
            times[plan.chain] += 1.0 / plan.num_layers
            times[plan.before] -= 1.0 / plan.num_layers
        errors = [share * result.stats[chain_key(chain)].error_ms for chain, share in times.items() if chain]
        shares.append(math.hypot(*errors) / result.stats[chain_key(choices)].latency_ms)
    return max(shares)


def _forget(work_folder: FilePath, pattern: str) -> None:
    """Remove what an unfinished build left."""
    for file in work_folder.glob(pattern):
        file.unlink()


def network_bytes(space: Space, target: Target) -> int:
    """Return how much memory a typical network's weights take: the mean over uniformly drawn networks."""
    table = params_table(space)
    num_params = table.fixed + sum(sum(costs) / len(costs) for costs in table.candidates)
    return round(num_params) * WEIGHT_BYTES[target.precision]


def _items(
    space: Space, target: Target, plans: Sequence[Chains], networks: Sequence[tuple[Choice, ...]]
) -> tuple[Item, ...]:
    """Return the distinct chains and networks.

    A short chain is visited twice for each visit of a network: it repeats worse and takes less time, and what it is off
    by goes into every row. One that many rows are measured against is visited four times.
    """
    befores = dict.fromkeys(plan.before for plan in plans if plan.before)
    chains = dict.fromkeys([plan.chain for plan in plans]) | befores | dict.fromkeys(networks)
    whole = set(networks)
    return tuple(
        Item(
            key=chain_key(chain),
            choices=chain,
            input_shape=trace(space)[chain[0][0]].in_shape,
            visits=4 if chain in befores else 1 if chain in whole else 2,
            stream_bytes=0 if chain in whole or not target.cpu else network_bytes(space, target),
        )
        for chain in chains
    )


def assemble(
    space: Space,
    target: Target,
    plans: Sequence[Chains],
    networks: Mapping[Path, tuple[Choice, ...]],
    result: JobResult,
) -> LatencyTable:
    """Turn what a run found into a table."""
    rows = []
    for plan in plans:
        stats = result.stats[chain_key(plan.chain)]
        before = result.stats[chain_key(plan.before)] if plan.before else None
        before_ms, before_error = (before.latency_ms, before.error_ms) if before else (0.0, 0.0)
        rows.append(
            Row(
                layer=plan.layer,
                op=plan.op,
                raw_ms=max(0.0, stats.latency_ms - before_ms) / plan.num_layers,
                error_ms=math.hypot(stats.error_ms, before_error) / plan.num_layers,
                chain_ms=stats.latency_ms,
                before_ms=before_ms,
                median_ms=stats.median_ms,
                p10_ms=stats.p10_ms,
                num_samples=stats.num_samples,
                num_clean=stats.num_clean,
            )
        )
    rows += [Row(layer.name, op.short, 0.0) for layer in space.layers for op in layer.candidates if op.name == "zero"]
    raw, params = {(row.layer, row.op): row.raw_ms for row in rows}, params_table(space)
    calibration = fit(
        [
            CalibrationNetwork(
                architecture=space.architecture(path).id,
                num_params=params.total(path),
                sum_ms=sum(raw[space.layers[i].name, space.layers[i].candidates[c].short] for i, c in choices),
                measured_ms=result.stats[chain_key(choices)].latency_ms,
                error_ms=result.stats[chain_key(choices)].error_ms,
            )
            for path, choices in networks.items()
        ]
    )
    return LatencyTable(
        space=space,
        target=target,
        rows=tuple(rows),
        calibration=calibration,
        fingerprint=fingerprint(space, target),
        sentinels={name: stats.latency_ms for name, stats in result.sentinels.items()},
        info={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "clean_share": result.clean_share,
            "moved": result.moved,
            "num_rounds": result.num_rounds,
            "num_phases": result.num_phases,
            "prepare_seconds": result.prepare_seconds,
            "measure_seconds": result.measure_seconds,
        },
    )
