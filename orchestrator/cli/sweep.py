"""`onepath sweep`: the main job and its forecast. Decides nothing itself.

Why so bare: the help must answer at once, so everything heavy is imported inside the command.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.front import show_front
from orchestrator.cli.options import Json
from orchestrator.cli.printing import print_json, say

if TYPE_CHECKING:
    from orchestrator.plan.trials import Job


def sweep(
    config: Annotated[str, typer.Argument(help="Preset name or YAML file.")],
    name: Annotated[str | None, typer.Option(help="Name of the sweep, instead of the configuration's.")] = None,
    storage: Annotated[str | None, typer.Option(envvar="ONEPATH_STORAGE", help="Where to keep everything.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and forecast; start nothing.")] = False,
    json: Json = False,
) -> None:
    """Search every target under every latency limit, train, measure and register the networks; or continue."""
    from rich.console import Console
    from rich.markup import escape

    from orchestrator.plan.check import load_run

    run = load_run(config, name=name, storage=storage)
    console = Console(stderr=json)
    if dry_run:
        from orchestrator.plan.forecast import forecast, forecast_table

        found = forecast(run)
        print_json(found) if json else console.print(forecast_table(found))
        return
    from orchestrator.report.end import require_success
    from orchestrator.sweep import prepare, run_sweep

    job = prepare(run, console)
    console.print(f"[bold]onepath[/bold] sweep [bold]{run.name}[/bold] in {escape(job.store.uri)}", soft_wrap=True)
    end = run_sweep(job, console)
    if end.idle and not end.unregistered:
        console.print(f"sweep {run.name!r} is finished: nothing left to do, this is its front", soft_wrap=True)
    show_front(job, end.results, json=json)
    if not json:
        _show_ledger(job, [result.trial for result in end.results])
    require_success(end)


def _show_ledger(job: "Job", trials: list[str]) -> None:
    """Print where the time of a sweep went, over all its runs."""
    from rich.console import Console

    from orchestrator.plan.ledgers import stored_ledger
    from orchestrator.report.ledger import ledger_notes, ledger_table

    ledger = stored_ledger(job.store)
    if not ledger.spent:
        return
    Console().print(ledger_table(ledger))
    for line in ledger_notes(ledger, trials):
        say(line)
