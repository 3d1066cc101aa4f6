"""The `onepath` command: thin functions from the command line to the rooms. Decides nothing itself.

Why so bare: `onepath --help` must answer at once, so everything heavy is imported inside the commands.
Exit codes: 0 done, 1 the run failed, 2 the input was wrong.
"""

import json as jsonlib
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from supernet.errors import InputError, RunError


class _Interrupt:
    """SIGTERM unwinds like Ctrl-C, and is remembered: what comes back through Ray is a plain KeyboardInterrupt."""

    exit_code = 130

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM."""
        self.exit_code = 128 + number
        raise KeyboardInterrupt


_interrupt = _Interrupt()


class _Stopped(Exception):
    """Ctrl-C or SIGTERM ended a command; its argument is the exit code."""


class _Commands(TyperGroup):
    """Commands that can be stopped: Typer would end them without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Stopped(_interrupt.exit_code) from None


app = typer.Typer(
    cls=_Commands,
    help="Finds, for each device and each latency limit, a network specialised for it: measured and registered.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Storage = Annotated[str, typer.Option(envvar="ONEPATH_STORAGE", help="Folder or object store that holds the sweeps.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

REPORTS = (("picture", "front.png"), ("report ", "report.html"))


def main() -> None:
    """Run the command line; turn the errors a user can mend into one message and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except InputError as error:
        _fail(str(error), 2)
    except RunError as error:
        _fail(str(error), 1)
    except _Stopped as stopped:
        _fail("stopped; the same command continues from here", stopped.args[0])


def _fail(message: str, code: int) -> None:
    print(f"onepath: {message}", file=sys.stderr)
    sys.exit(code)


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


@app.command()
def sweep(
    config: Annotated[str, typer.Argument(help="Preset name or YAML file.")],
    name: Annotated[str | None, typer.Option(help="Name of the sweep, instead of the configuration's.")] = None,
    storage: Annotated[str | None, typer.Option(envvar="ONEPATH_STORAGE", help="Where to keep everything.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and forecast; start nothing.")] = False,
    json: Json = False,
) -> None:
    """Search every target under every latency limit, train, measure and register the networks; or continue."""
    from orchestrator.plan.check import load_run

    run = load_run(config, name=name, storage=storage)
    console = _console(stderr=json)
    if dry_run:
        from orchestrator.plan.forecast import forecast, forecast_table

        found = forecast(run)
        if json:
            print(jsonlib.dumps(found))
        else:
            console.print(forecast_table(found))
        return
    from rich.markup import escape

    from orchestrator.sweep import prepare, require_success, run_sweep

    job = prepare(run, console)
    console.print(f"[bold]onepath[/bold] sweep [bold]{run.name}[/bold] in {escape(job.store.uri)}", soft_wrap=True)
    end = run_sweep(job, console)
    if end.resumed == len(end.results):
        console.print(f"sweep {run.name!r} is finished: nothing left to do, this is its front", soft_wrap=True)
    if any(result.done for result in end.results):
        _write_report(job, end.results)
    _show(job, end.results, console, json=json)
    require_success(end)


def _show(job: Any, results: list[Any], console: Any, *, json: bool) -> None:
    """Print a front's table or JSON, and say what to type next; write nothing."""
    from orchestrator.registry.values import rank
    from orchestrator.report.front import front_notes, front_rows, front_table
    from orchestrator.report.rows import limit_text

    rows = front_rows(results)
    if json:
        print(jsonlib.dumps([row.to_plain() for row in rows], indent=1, allow_nan=False))
    else:
        console.print(front_table(rows))
        for note in front_notes(rows):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    if not any(result.done for result in results):
        return
    if json:
        return
    best = min((result for result in results if result.done), key=rank)
    limit = limit_text(best.cost, best.unit)
    root = job.root.uri
    storage = "" if root == str(Path("onepath-runs").absolute()) else f" --storage {root}"
    name, uri = job.config["name"], job.config["mlflow"]["tracking_uri"] or f"sqlite:///{root}/mlflow.db"
    lines = [f"{what} {job.store.child(file).uri}" for what, file in REPORTS if job.store.exists(file)]
    lines += ["next:", f"  onepath pull {name} --target {best.target} --max-ms {limit}{storage}"]
    lines += [f"  mlflow ui --backend-store-uri {uri}"]
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _write_report(job: Any, results: list[Any]) -> None:
    """Keep picture and page of the front beside the sweep."""
    import yaml

    from orchestrator.report.front import front_png, front_rows, report_html

    rows, settings = front_rows(results), yaml.safe_dump(dict(job.config), sort_keys=False, width=110)
    title = f"onepath sweep {job.config['name']}"
    with TemporaryDirectory() as folder:
        files = [
            front_png(rows, Path(folder) / "front.png"),
            report_html(rows, Path(folder) / "report.html", title=title, sections=[("Configuration", settings)]),
        ]
        for file in files:
            job.store.write(file.name, file.read_bytes())


def _stored_job(name: str, storage: str) -> Any:
    """Return a sweep that was started before.

    Raises:
        InputError: If the storage holds no sweep of this name.
    """
    from orchestrator.data.storage import Storage as Folder
    from orchestrator.plan.continued import stored_config
    from orchestrator.plan.trials import CONFIG_FILE, Job
    from supernet.errors import nearest

    root = Folder(storage)
    store = root.child(name)
    if not store.exists(CONFIG_FILE):
        known = [found for found in root.names() if root.child(found).exists(CONFIG_FILE)]
        raise InputError(f"no sweep {name!r} in {root.uri}{nearest(name, known)} (--storage names another place)")
    plain = {**stored_config(store), "storage": root.uri}
    return Job(plain, "")


@app.command()
def front(
    name: Annotated[str, typer.Argument(help="Name of the sweep.")],
    storage: Storage = "onepath-runs",
    json: Json = False,
) -> None:
    """Show the measured networks of a sweep, and which of them are on their target's front."""
    from orchestrator.plan.trials import stored_results

    job = _stored_job(name, storage)
    results = list(stored_results(job).values())
    if not results:
        raise InputError(f"sweep {name!r} has no finished trial yet; continue it with `onepath sweep`")
    _show(job, results, _console(), json=json)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Name of the sweep.")],
    target: Annotated[str, typer.Option(help="Name of the target.")],
    max_ms: Annotated[float, typer.Option(help="Highest measured latency, in milliseconds, or highest count.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; by default NAME-TARGET.")] = None,
    storage: Storage = "onepath-runs",
    json: Json = False,
) -> None:
    """Fetch the most accurate registered network within a latency: torch export, ONNX, weights, architecture."""
    from orchestrator.registry.queue import open_registry
    from orchestrator.report.rows import cost_text

    registry = open_registry(_stored_job(name, storage), create=False)
    folder = out or Path(f"{name}-{target}")
    numbers = registry.pull(name, target, max_ms, folder)
    if json:
        print(jsonlib.dumps({**numbers, "folder": str(folder)}))
        return
    console = _console()
    console.print(
        f"{numbers['model_uri']}: top-1 {numbers['top1']:.1%}, "
        f"{cost_text(numbers['cost'], numbers['unit'])} on {target}, "
        f"{numbers['num_params']:,} parameters\n{numbers['architecture']}",
        soft_wrap=True,
    )
    console.print(f"in {folder}: {', '.join(numbers['files'])}", markup=False, soft_wrap=True)
    console.print(f"load it: torch.export.load('{folder}/model.pt2').module()", markup=False, soft_wrap=True)


def _add_rooms() -> None:
    from orchestrator.cli import arch, data, device, latency

    app.add_typer(arch.app, name="arch")
    app.add_typer(data.app, name="data")
    app.add_typer(latency.app, name="latency")
    app.add_typer(device.app, name="device")


_add_rooms()

if __name__ == "__main__":
    main()
