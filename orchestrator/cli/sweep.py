"""`onepath sweep`: the main job, its forecast, and the report that it leaves. Decides nothing itself.

Why so bare: the help must answer at once, so everything heavy is imported inside the command.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.front import show_front
from orchestrator.cli.options import Json
from orchestrator.cli.printing import print_json

if TYPE_CHECKING:
    from orchestrator.plan.result import TrialResult
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
    from orchestrator.sweep import prepare, require_success, run_sweep

    job = prepare(run, console)
    console.print(f"[bold]onepath[/bold] sweep [bold]{run.name}[/bold] in {escape(job.store.uri)}", soft_wrap=True)
    end = run_sweep(job, console)
    if end.resumed == len(end.results):
        console.print(f"sweep {run.name!r} is finished: nothing left to do, this is its front", soft_wrap=True)
    if any(result.done for result in end.results):
        _write_report(job, end.results)
    show_front(job, end.results, json=json)
    require_success(end)


def _write_report(job: "Job", results: "Sequence[TrialResult]") -> None:
    """Keep picture and page of the front beside the sweep."""
    import yaml

    from orchestrator.report.front import front_png, front_rows, report_html
    from orchestrator.report.trust import trust_of
    from supernet.plain import to_json, to_plain

    rows, settings = front_rows(results), yaml.safe_dump(dict(job.config), sort_keys=False, width=110)
    trust = trust_of(results, shared=job.run.mode == "shared")
    job.store.write("trust.json", to_json({**to_plain(trust), "sentences": trust.sentences}).encode())
    with TemporaryDirectory() as folder:
        files = [
            front_png(rows, Path(folder) / "front.png"),
            report_html(
                rows,
                Path(folder) / "report.html",
                title=f"onepath sweep {job.run.name}",
                sections=[("Trust in shared weights", "\n".join(trust.sentences)), ("Configuration", settings)],
            ),
        ]
        for file in files:
            job.store.write(file.name, file.read_bytes())
