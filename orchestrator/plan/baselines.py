"""Baselines of a sweep: known networks, scaled in width to the latencies of its fronts, as trials without a search.

Why here: a front is worth what it gains over known networks of the same latency, trained by the same recipe. A baseline
is trained and measured as a trial of a sweep of its own, is on no front, and is never registered. It must not know how
anything is run.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from orchestrator.data.storage import Storage
from orchestrator.plan.cross import Column, figure_in
from orchestrator.plan.result import TrialResult
from orchestrator.plan.trials import RESULT_FILE, Job, Trial, short_name
from orchestrator.report.rows import cost_text, front_rows
from supernet.errors import InputError, RunError
from supernet.plain import check_name, read_sealed, to_json, to_sealed
from supernet.presets import Reference, load_network, network_definition, preset_names
from supernet.space import Path, Space

FOLDER = "baselines"
"""Of the sweep's: a sweep of its own, with trials, checkpoints and all, so that no setting of the sweep hangs on it."""

KIND = "baseline"
"""Of a trial: its value is the factor on the known network's width."""

WIDTHS = tuple(round(0.1 * 1.12**number, 3) for number in range(33))
"""Factors on the channels that are tried, 0.1 to 3.8; channels are multiples of 8, so finer ones change little."""


@dataclass(frozen=True)
class Known:
    """A known network.

    Attributes:
        name: What it is called.
        key: What its costs and trials are kept by: the name, and of a user's network what it holds.
        space: Its space, for images of its own size.
        path: The network in it.
    """

    name: str
    key: str
    space: Space
    path: Path


def known_network(reference: Reference) -> Known:
    """Return a network that a configuration names, or has written out; trusted as the sweep's own space is.

    Raises:
        InputError: If there is no such network, or it has no name.
    """
    if isinstance(reference, str):
        name, (space, architecture) = short_name(reference), load_network(reference, trust=True)
    elif "name" in reference:
        name, definition = str(reference["name"]), {key: reference[key] for key in reference if key != "name"}
        space, architecture = load_network(definition, trust=True)
    else:
        raise InputError("a network that is written out here needs a name")
    path = space.path(architecture)
    if reference in preset_names("networks"):
        return Known(name, name, space, path)
    content = to_json([space.to_dict(), path])
    return Known(name, f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}", space, path)


def written_out(reference: Reference) -> Reference:
    """Return what a sweep keeps of a known network: its name, or all that is in a user's file, which may go away."""
    known = known_network(reference)
    if known.key == reference:
        return known.key
    return {"name": known.name} | network_definition(known.space, known.space.architecture(known.path))


@dataclass(frozen=True)
class Baseline:
    """One known network at the cost of one network of a front.

    Attributes:
        network: The known one.
        beside: Key of the front's trial.
        target: Name of the target.
        cost: Of the front's network, which the baseline may take too.
    """

    network: Known
    beside: str
    target: str
    cost: float

    @property
    def key(self) -> str:
        """What it is called before its width is known."""
        return f"{self.beside}-{self.network.name}"


def baselines_of(job: Job, results: Sequence[TrialResult]) -> list[Baseline]:
    """Return the baselines of a sweep: each known network beside each network of a front.

    Args:
        job: The sweep.
        results: Of its searched networks.
    """
    front = [row.result for row in front_rows(results) if row.on_front]
    return [
        Baseline(network, result.trial, result.target, result.cost)
        for network in map(known_network, job.run.baselines)
        for result in front
        if result.cost is not None and num_beside(job, result.target)
    ]


def num_beside(job: Job, target: str) -> int:
    """Return how many known networks stand beside each of a target; none where its costs are of one space alone."""
    return 0 if job.target(target).runtime == "published" else len(job.run.baselines)


def scaled(job: Job, network: Known, width: float) -> tuple[Job, Path]:
    """Return a job of a known network at some width, for the images of a sweep, and the network's path in its space.

    It has no limits, and int8 may cost it any accuracy: known networks are there to compare with at equal cost,
    whatever else they take or lose.

    Args:
        job: The sweep.
        network: The known one.
        width: Factor on its channels.

    Raises:
        InputError: If it does not take images of this size.
    """
    space, images = network.space, job.space
    definition = space.to_dict() | {
        "name": check_name(f"{space.name}-x{width:g}", f"baselines: {network.name}"),
        "width_mult": space.width_mult * width,
        "input_size": list(images.input_size),
        "num_classes": images.num_classes,
    }
    own = {"storage": job.store.uri, "name": FOLDER, "space": definition, "baselines": [], "limits": {}}
    own["gate"] = {**job.config["gate"], "max_top1_loss": 1.0}
    return Job({**job.config, **own}, job.data_root, outer=job.config), network.path


def chosen_width(job: Job, baseline: Baseline) -> float:
    """Return a baseline's width, of those whose costs are known.

    Raises:
        RunError: If a cost that it takes to choose one is not.
    """
    known = known_costs(job, baseline)
    try:
        return widest(baseline.cost, lambda width: known[f"{width:g}"])
    except KeyError as error:
        raise RunError(f"{baseline.key}: no cost of its width {error} is known; the same command measures it") from None


def made_from(job: Job, baseline: Baseline, width: float) -> tuple[Job, Trial]:
    """Return the job and the trial of a baseline at some width: one for all networks of a front that it is as fast as.

    Raises:
        InputError: If the known network does not take the sweep's images.
    """
    network = baseline.network
    inner, path = scaled(job, network, width)
    key = check_name(f"{baseline.target}-{network.key}-x{width:g}", f"baselines, {network.name}: the name of its trial")
    return inner, Trial(key, baseline.target, KIND, width, path, network.name)


def chosen(job: Job, baseline: Baseline) -> tuple[Job, Trial] | None:
    """Return the job and the trial of a baseline at its width; None where that is not known."""
    with contextlib.suppress(InputError, RunError):
        return made_from(job, baseline, chosen_width(job, baseline))
    return None


def widest(limit: float, cost_of: Callable[[float], float], widths: Sequence[float] = WIDTHS) -> float:
    """Return the greatest width whose cost keeps a limit, by bisection, or the least where not even that does.

    A known network of many layers may be slower than what was searched however narrow it is; what it reaches then is
    worth showing.

    Args:
        limit: Highest cost.
        cost_of: Cost of a width; it grows with it, but for noise.
        widths: To choose from, ascending.
    """
    low, high = -1, len(widths)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost_of(widths[middle]) <= limit else (low, middle)
    return widths[max(low, 0)]


def stored_baselines(job: Job, results: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the finished baselines of a sweep; a damaged one is none, and is made again."""
    return list({result.trial: result for result in _stored(job, results).values()}.values())


def _stored(job: Job, results: Sequence[TrialResult]) -> dict[Baseline, TrialResult]:
    found: dict[Baseline, TrialResult] = {}
    for baseline in baselines_of(job, results):
        made = chosen(job, baseline)
        if made is not None:
            inner, trial = made
            with contextlib.suppress(InputError, OSError):
                found[baseline] = read_sealed(TrialResult, inner.trial_store(trial).read(RESULT_FILE), RESULT_FILE)
    return found


def missing_baselines(job: Job, results: Sequence[TrialResult]) -> list[Baseline]:
    """Return the baselines of a sweep that are not finished."""
    finished = _stored(job, results)
    return [baseline for baseline in baselines_of(job, results) if baseline not in finished]


def known_costs(job: Job, baseline: Baseline) -> dict[str, float]:
    """Return what a known network costs on a target at the widths that were tried; none where that is damaged."""
    found: dict[str, float] = {}
    with contextlib.suppress(InputError, OSError):
        file = _file(baseline)
        found = read_sealed(dict[str, float], _widths(job).read(file), file)
    return found


def keep_cost(job: Job, baseline: Baseline, width: float, cost: float) -> None:
    """Keep what a known network costs at a width, for the next network of the front."""
    _widths(job).write(_file(baseline), to_sealed(known_costs(job, baseline) | {f"{width:g}": cost}).encode())


def _widths(job: Job) -> Storage:
    return job.store.child(FOLDER, "costs")


def _file(baseline: Baseline) -> str:
    return f"{baseline.target}-{baseline.network.key}.json"


def speedups(
    results: Sequence[TrialResult], baselines: Sequence[TrialResult], columns: Mapping[str, Column]
) -> list[str]:
    """Return, for each baseline, how much faster the front's network of at least its accuracy is, in words.

    Args:
        results: Of the searched networks.
        baselines: Of the known ones.
        columns: Of the cross table: where both stand in it, they were timed in the same rounds.
    """
    said = []
    front = [row.result for row in front_rows(results) if row.on_front]
    for known in (baseline for baseline in baselines if baseline.done):
        rivals = [r for r in front if r.target == known.target and (r.top1 or 0.0) >= (known.top1 or 0.0)]
        costs = _in_same_rounds(columns.get(known.target), [known, *rivals])
        what = f"{known.baseline} ({known.top1 or 0.0:.1%}, {cost_text(costs[0], known.unit)})"
        if not rivals:
            said.append(f"{known.target}: no network of the front is as accurate as {what}")
            continue
        least = min(costs[1:])
        gain = (
            f"{costs[0] / least:.2f} times as fast" if known.unit == "ms" else f"{least / costs[0]:.2f} times as large"
        )
        said.append(
            f"{known.target}: at the accuracy of {what} the front's network is {gain} ({cost_text(least, known.unit)})"
        )
    return said


def _in_same_rounds(column: Column | None, results: Sequence[TrialResult]) -> list[float]:
    """Return the costs of networks on a target: from its column of the cross table if all of them are in it."""
    figures = [figure_in(column, result) for result in results] if column else [None]
    if all(figures):
        return [figure.latency_ms for figure in figures if figure]
    return [result.cost or inf for result in results]
