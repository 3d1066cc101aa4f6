"""`onepath front`: the measured networks of a sweep in the terminal, and what to type next. Writes its page at most."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.options import STORAGE, Json, Storage, SweepName
from orchestrator.cli.printing import print_json, print_table, say
from supernet.errors import InputError, RunError

if TYPE_CHECKING:
    from orchestrator.plan.result import TrialResult
    from orchestrator.plan.trials import Job


def front(name: SweepName, storage: Storage = STORAGE, json: Json = False) -> None:
    """Show the measured networks of a sweep, and which of them are on their target's front; renew picture and page."""
    from orchestrator.plan.continued import stored_job
    from orchestrator.plan.stored import stored_results

    job = stored_job(name, storage)
    results = list(stored_results(job).values())
    if not results:
        raise InputError(f"sweep {name!r} has no finished trial yet; continue it with `onepath sweep`")
    show_front(job, results, json=json)
    for line in [] if json else _left(job, results):
        say(line)


def show_front(job: "Job", results: "Sequence[TrialResult]", *, json: bool) -> None:
    """Print a front's table or JSON, and say what to type next."""
    from rich.console import Console

    from orchestrator.plan.baselines import speedups, stored_baselines
    from orchestrator.plan.cross import stored_columns
    from orchestrator.report.cross import TITLE, cross_grid, cross_notes, latencies_on
    from orchestrator.report.front import front_notes, front_table
    from orchestrator.report.rows import front_rows
    from orchestrator.report.trust import trust_of

    known, columns = stored_baselines(job, results), stored_columns(job)
    rows = front_rows([*results, *known])
    if json:
        print_json([row.to_plain() | {"latency_ms_on": latencies_on(columns, row.result)} for row in rows])
        return
    Console().print(front_table(rows))
    if columns:
        heading, *grid = cross_grid(columns, [*results, *known])
        print_table(TITLE, tuple(heading), [tuple(cells) for cells in grid])
    trust = trust_of(results, shared=job.run.mode == "shared")
    for line in (
        *front_notes(rows),
        *speedups(results, known, columns),
        *cross_notes(columns, results, job.quantised),
        *trust.sentences,
        *_report(job, results),
        *_next(job, [result for result in results if result.done and result.model_uri]),
    ):
        say(line)


def _report(job: "Job", results: "Sequence[TrialResult]") -> list[str]:
    """Return where picture and page of these results are, written if they were not there."""
    from orchestrator.report.written import PAGE, PICTURE, renew_report

    if not any(result.finished for result in results):
        return []
    try:
        renew_report(job, results)
    except RunError as error:
        return [f"picture and report are missing or older than this table, and could not be written: {error}"]
    return [f"picture {job.store.child(PICTURE).uri}", f"report  {job.store.child(PAGE).uri}"]


def _left(job: "Job", results: "Sequence[TrialResult]") -> list[str]:
    """Return what a sweep that was stopped has not finished or not registered yet, and the command that goes on."""
    from orchestrator.plan.stored import num_left
    from orchestrator.registry.queue import again

    finished = [result for result in results if result.finished]
    left = sum(num_left(job, {result.trial for result in finished}).values())
    waiting = sum(not result.model_uri for result in finished)
    counts = {"trials not finished": left, "networks not registered, so that `pull` has none of them": waiting}
    said = "; ".join(f"{what}: {number}" for what, number in counts.items() if number)
    return [f"{said}; unless the sweep is running, this goes on: {again(job)}"] if said else []


def _next(job: "Job", done: "list[TrialResult]") -> list[str]:
    """Return the command that fetches the best of registered networks, and where the registry is seen."""
    if not done:
        return []
    from orchestrator.plan.addresses import embedded_registry
    from orchestrator.registry.choice import rank
    from orchestrator.report.rows import limit_text

    best = min(done, key=rank)
    assert best.cost is not None, best  # it is done
    option = "--max-ms" if best.unit == "ms" else "--max-count"
    limit = limit_text(best.cost, best.unit)
    storage = "" if job.root.uri == str(Path(STORAGE).absolute()) else f" --storage {shlex.quote(job.root.uri)}"
    registry = job.run.mlflow.tracking_uri or embedded_registry(job.root.uri)
    seen = f"MLflow is at {registry}"
    if registry.startswith("sqlite:"):
        seen = f"mlflow ui --backend-store-uri {shlex.quote(registry)}"
    return ["next:", f"  onepath pull {job.run.name} --target {best.target} {option} {limit}{storage}", f"  {seen}"]
