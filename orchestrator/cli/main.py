"""The `onepath` command: its subcommands put together, and how a command ends. Knows none of them inside.

Exit codes: 0 done, 1 the run failed, 2 the input was wrong.
"""

import signal
import sys
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from orchestrator.cli import arch, data, device, front, latency, models, pull, register, settings, sweep
from supernet.errors import InputError, RunError, away


class _Terminated(KeyboardInterrupt):
    """SIGTERM. Not KeyboardInterrupt itself: where that crosses source text that runs, Python ends itself by SIGINT."""


class _Interrupt:
    """SIGTERM unwinds like Ctrl-C, and is remembered: what comes back through Ray is a plain KeyboardInterrupt."""

    exit_code = 130

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM."""
        self.exit_code = 128 + number
        raise _Terminated


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

for command in (
    sweep.sweep,
    settings.settings,
    front.front,
    models.models,
    pull.pull,
    models.promote,
    register.register,
):
    app.command()(command)
for name, group in {"arch": arch, "data": data, "latency": latency, "device": device}.items():
    app.add_typer(group.app, name=name)


def main() -> None:
    """Run the command line; turn the errors a user can mend into one message and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except InputError as error:
        _fail(str(error), 2)
    except RunError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(away(error), 1)
    except _Stopped as stopped:
        _fail("stopped; the same command continues from here", stopped.args[0])


def _fail(message: str, code: int) -> None:
    print(f"onepath: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
