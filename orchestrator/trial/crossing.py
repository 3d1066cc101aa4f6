"""The cross table's step of a sweep: the networks of all fronts, as files, onto every target at hand.

Why here: it makes the file that each network would be delivered as for another target. What is kept of it and what it
says stands in `plan.cross`; it must not know Ray.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from rich.markup import escape

from latency.measuring.measure import Measurement
from latency.target import Target
from orchestrator.cluster.models import ask_model, first_noise, measure_models
from orchestrator.cluster.progress import poster
from orchestrator.cluster.session import announced
from orchestrator.plan.baselines import baselines_of, chosen, stored_baselines
from orchestrator.plan.check import not_here
from orchestrator.plan.cross import CROSS_KEY, Column, Figure, crossed, missing_columns, store_column
from orchestrator.plan.news import News
from orchestrator.plan.result import TrialResult
from orchestrator.plan.stored import known_trials, stored_results
from orchestrator.plan.trials import Job, Trial
from orchestrator.trial.deliver import images_at_once, top1
from orchestrator.trial.files import delivered_file, kept_form, makers_of, network_of, stored_outcome
from orchestrator.trial.records import is_intact, read_beside
from orchestrator.trial.stages import open_data
from supernet.errors import reason_of

Say = Callable[[str], None]
MeasureAll = Callable[[str, str, Mapping[str, bytes]], Mapping[str, Measurement]]
"""From a target, the name of a file and the contents by trial, to what was measured in the same rounds."""

Judge = Callable[[str, str, bytes], float]
"""From a target, the name of a file and its content, to its top-1 on the test split."""


def fill_cross_table(job: Job, say: Say, *, embedded: bool) -> None:
    """Measure the networks of all fronts on every target at hand, where that is not done; no trial fails for it.

    Args:
        job: The sweep.
        say: Takes a line for the terminal.
        embedded: Whether the cluster is this machine alone.
    """
    searched = [result for result in stored_results(job).values() if result.done]
    results = [*searched, *stored_baselines(job, searched)]
    missing = missing_columns(job, results)
    if not missing:
        return
    poster()(News(CROSS_KEY, "export"))
    away = set(missing) - set(announced(missing))
    if embedded:
        away |= not_here(job.target(name) for name in missing).keys()
    reasons = dict.fromkeys(sorted(away), "no node measures it now")
    here = [name for name in missing if name not in away]
    measure, judge = partial(measure_models, job, key=CROSS_KEY), partial(_top1, job)
    for name, reason in fill_columns(job, results, here, measure, judge):
        reasons[name] = reason
    for name, reason in reasons.items():
        text = (
            f"the cross table lacks sure figures of it ({escape(reason)}); the same command adds them" if reason else ""
        )
        say(f"{name}: [yellow]{text}[/yellow]" if text else f"{name}: every network of the fronts was measured on it")


def fill_columns(
    job: Job, results: Sequence[TrialResult], targets: Sequence[str], measure: MeasureAll, judge: Judge
) -> Iterator[tuple[str, str]]:
    """Measure the networks of all fronts, and the baselines, on targets; store each column as soon as it is known.

    What int8 costs a network is known where its own target is one: the others are judged on those as well, once their
    figures can be believed.

    Args:
        job: The sweep.
        results: Of its trials and baselines.
        targets: That are at hand.
        measure: Measures files on a target.
        judge: Judges a file on a target.

    Yields:
        Each target, with why it has no column that can be believed, or nothing.
    """
    networks = crossed(results)
    made: dict[tuple[str, str, tuple[str, int | None]], bytes] = {}
    origins: dict[str, tuple[Job, Trial]] = {}
    for name in targets:
        target = job.target(name)
        file = delivered_file(target)
        try:
            origins = origins or _origins(job, networks)
            contents = {}
            for result in networks:
                place = result.trial, file, kept_form(target, file)
                if place not in made:
                    made[place] = file_for(*origins[result.trial], target)
                contents[result.trial] = made[place]
            found = measure(name, file, contents)
            noise = first_noise(found)
            lossy = name in job.quantised and not noise  # a noisy column is measured again, with files of then
            unknown = [r for r in networks if lossy and r.target not in job.quantised and not r.baseline]
            top1s = {result.trial: judge(name, file, contents[result.trial]) for result in unknown}
        except Exception as error:  # of export or quantisation, too: the sweep has its networks
            yield name, reason_of(error)
            continue
        figures = as_at_home(found, {r.trial: r.cost for r in networks if r.target == name and r.cost})
        architectures = {result.trial: result.architecture for result in networks}
        store_column(job, Column(name, architectures, figures, noise, top1s))
        yield name, noise


def _top1(job: Job, target: str, file: str, content: bytes) -> float:
    data = open_data(job)
    return top1(partial(ask_model, job, target, file, content, key=CROSS_KEY), data.once("test", images_at_once(data)))


def as_at_home(found: Mapping[str, Measurement], own_ms: Mapping[str, float]) -> dict[str, Figure]:
    """Return figures as they are where a target's own networks take what their results say, in the median.

    All were measured in the same rounds, so this leaves their ratios alone: it takes out by how much the machine is
    slower or faster than when the fronts were measured.

    Args:
        found: What was measured on the target, by trial.
        own_ms: What the target's own networks take, by trial, in milliseconds; may be none.
    """
    machine = median(found[trial].latency_ms / ms for trial, ms in own_ms.items()) if own_ms else 1.0
    known = {trial: replace(one, machine=machine).as_known for trial, one in found.items()}
    return {trial: Figure(one.latency_ms, one.error_ms, one.median_ms) for trial, one in known.items()}


def _origins(job: Job, networks: Sequence[TrialResult]) -> dict[str, tuple[Job, Trial]]:
    """Return the job and the trial that each network comes from, by its key: a baseline has a job of its own."""
    wanted = {network.trial for network in networks if network.baseline}
    known = baselines_of(job, [network for network in networks if not network.baseline])
    made = filter(None, (chosen(job, baseline) for baseline in known))
    own = {trial.key: (inner, trial) for inner, trial in made if trial.key in wanted}
    return {trial.key: (job, trial) for trial in known_trials(job)} | own


def file_for(job: Job, trial: Trial, target: Target) -> bytes:
    """Return a trial's network as it would be delivered for a target; its own file where that is the same.

    Raises:
        RunError: If what it is made from is damaged.
    """
    file, store = delivered_file(target), job.trial_store(trial)
    if kept_form(job.target(trial.target), file) == kept_form(target, file) and is_intact(store, file):
        return read_beside(store, file)
    outcome, weights = stored_outcome(store)
    return makers_of(network_of(job, outcome, weights), target, open_data(job), job.run.deliver.int8)[file]()
