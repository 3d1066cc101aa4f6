"""The sweep as it happens, on a terminal or in a log: phase, trial, time left, loss, expected latency.

Why here: the only file that draws progress. It reads news and knows neither Ray nor how they are made.
"""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Read = Callable[[], Mapping[str, Mapping[str, Any]]]


class LiveView:
    """Shows news until the block ends; lines of text where the output is no terminal.

    Args:
        console: Where to.
        read: Returns the latest news per key.
        total: Trials in all.
        done: Trials that were finished before.
        seen: Called with all news at every look.
        seconds: Between two looks.
    """

    def __init__(
        self,
        console: Console,
        read: Read,
        total: int,
        done: int = 0,
        seen: Callable[[Mapping[str, Mapping[str, Any]]], None] = lambda news: None,
        seconds: float = 0.5,
    ) -> None:
        self.console, self.read, self.total, self.done = console, read, total, done
        self.seen = seen
        self.seconds = seconds if console.is_terminal else max(seconds, 1.0)
        self._over: set[str] = set()
        self._started = time.monotonic()
        self._phase_start: dict[tuple[str, str], tuple[float, int]] = {}
        self._printed: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "LiveView":
        """Start showing."""
        if self._live:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        self._stop.set()
        self._thread.join(timeout=5)
        if self._live:
            self._live.stop()

    def finished(self, key: str, text: str) -> None:
        """Say that a trial is finished; its news are not shown any more."""
        self.forget(key)
        self.done += 1
        self.say(f"[bold]{self.done}/{self.total}[/bold] {text}")

    def forget(self, key: str) -> None:
        """Show no more news of a key."""
        self._over.add(key)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(f"[dim]{self._clock()}[/dim] {text}", highlight=False, soft_wrap=True)

    def _clock(self) -> str:
        return clock(time.monotonic() - self._started)

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            news = {key: item for key, item in self.read().items() if key not in self._over}
            self.seen(news)
            if self._live:
                self._live.update(self._table(news))
            else:
                self._lines(news)

    def _left(self, key: str, item: Mapping[str, Any]) -> str:
        """Return the time left of a phase, by its own speed so far."""
        step, num_steps, now = item["step"], item["num_steps"], time.monotonic()
        start, first = self._phase_start.setdefault((key, item["phase"]), (now, step))
        if not num_steps or step <= first or step >= num_steps:
            return ""
        return clock((num_steps - step) * (now - start) / (step - first))

    def _table(self, news: Mapping[str, Mapping[str, Any]]) -> Table:
        table = Table.grid(padding=(0, 2))
        for key, item in news.items():
            step, num_steps = item["step"], item["num_steps"]
            bar = ProgressBar(total=num_steps or None, completed=step, width=24, pulse=not num_steps)
            left = self._left(key, item)
            numbers = _figures(item["numbers"])
            count = f"{step}/{num_steps}" if num_steps else ""
            table.add_row(Text(key, style="bold"), item["phase"], bar, count, f"left {left}" if left else "", numbers)
        table.add_row(Text(self._clock(), style="dim"), Text(f"{self.done}/{self.total} trials done", style="dim"))
        return table

    def _lines(self, news: Mapping[str, Mapping[str, Any]]) -> None:
        """Print a line where a phase began or moved by a quarter."""
        for key, item in news.items():
            step, num_steps = item["step"], item["num_steps"]
            left = self._left(key, item)
            quarter = f"{item['phase']} {4 * step // num_steps if num_steps else 0}"
            if self._printed.get(key) == quarter:
                continue
            self._printed[key] = quarter
            count = f" {step}/{num_steps}" if num_steps else ""
            numbers = _figures(item["numbers"])
            self.say(f"{key}: {item['phase']}{count}{f'  left {left}' if left else ''}  {numbers}".rstrip())


def _figures(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in numbers.items())


def clock(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
