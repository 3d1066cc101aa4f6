"""Fills a latency table: measures the chains and networks of `chains` in one run; what follows from their times.

Nothing is written if the run does not agree with itself.
"""

import datetime
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path as FilePath

from latency.errors import MachineTooNoisy
from latency.graphs.model import Choice
from latency.measuring.job import Job, JobResult, Progress, noise_reason, plan_for, require_runnable
from latency.measuring.process import run_job
from latency.tables.calibrate import CalibrationNetwork, fit
from latency.tables.chains import Chains, calibration_paths, chain_key, job_items, plan_chains
from latency.tables.file import load_table, require_folder, table_path, write_table
from latency.tables.fingerprint import fingerprint, short_hash
from latency.tables.table import LatencyTable, Row
from latency.target import Target
from supernet.cost import params_table
from supernet.errors import InputError
from supernet.space import Path, Space

MAX_NETWORK_ERROR, MAX_ITEM_ERROR = 0.05, 0.1
"""Standard errors of whole networks (of those measured, in the root mean square, for all of them carry the calibration;
of one added up from its chains) and of any single item must be no more than these, or the table is not written: two of
them are the 10 % within which a prediction has to be right. What is left is in the error on left-out networks, which
every table carries."""

ROW_TOLERANCE = 0.003
"""Chains are settled at this, times the root of the number of positions: errors of rows add up in quadrature, so each
may be larger where a network is made of more. 0.7 % at 6 positions, 1.4 % at 21."""


def build_table(
    space: Space,
    target: Target,
    folder: FilePath | str,
    *,
    seconds: float | None = None,
    rebuild: bool = False,
    progress: Progress = lambda text, share: None,
    run: Callable[[Job, Progress], JobResult] = run_job,
) -> LatencyTable:
    """Measure a table and write it, or return the valid one that is there.

    Killed and called again, it goes on with the samples that it had.

    Args:
        space: What to measure.
        target: On what; it must be a measured target that this machine can run.
        folder: Where tables are kept.
        seconds: Measuring time wanted; by default 5 to 60, by the number of chains. Up to three times as much is spent
            in all, and what is needed for the fewest phases.
        rebuild: Measure anew even if a valid table is there; it stays until the new one is written.
        progress: Called with what is being done and its share done.
        run: Measures a job; another one simulates it.

    Raises:
        InputError: If the target only counts, or tables cannot be written to the folder.
        NotRunnable: If this machine cannot run the target.
        MachineTooNoisy: If the run does not agree with itself; nothing is written.
    """
    if not target.measured:
        raise InputError(f"target {target.name}: its costs are counted or published; there is nothing to measure")
    require_runnable(target)
    path = table_path(folder, space, target)
    require_folder(folder)
    if path.is_file() and not rebuild:
        with suppress(InputError):  # foreign or damaged: to be replaced
            return load_table(folder, space, target)
    plans, paths = plan_chains(space), calibration_paths(space)
    networks = {path: space.kept(path) for path in paths}
    items = job_items(space, target, plans, list(networks.values()))
    wanted = max(5.0, min(60.0, 0.35 * len(items))) if seconds is None else seconds
    work_folder = path.parent / "unfinished" / f"{path.stem}-{short_hash(fingerprint(space, target))}"
    job = Job(
        target=target,
        items=items,
        space=space,
        plan=plan_for(target, wanted, tolerance=ROW_TOLERANCE * math.sqrt(max(1, len(space.positions)))),
        work_folder=str(work_folder),
    )
    result = run(job, progress)
    whole = {chain_key(chain) for chain in networks.values()}
    disturbed = noise_reason(result, (), 0.0)
    if disturbed:
        _forget(work_folder, "samples-*")  # more would not mend these; where items only repeat badly, they do
    reason = disturbed or noise_reason(result, sorted(result.stats), MAX_ITEM_ERROR)
    measured = math.sqrt(statistics.fmean(result.stats[key].relative_error ** 2 for key in whole))
    if not reason and not measured <= MAX_NETWORK_ERROR:
        reason = f"its {len(whole)} whole networks are known to {measured:.1%} ({MAX_NETWORK_ERROR:.1%} allowed)"
    table = assemble(space, target, plans, networks, result)
    noise = table.info["row_noise"]
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
            "row_noise": row_noise(plans, networks.values(), result),
            "num_rounds": result.num_rounds,
            "num_phases": result.num_phases,
            "num_unlike": result.num_unlike,
            "prepare_seconds": result.prepare_seconds,
            "measure_seconds": result.measure_seconds,
        },
    )
