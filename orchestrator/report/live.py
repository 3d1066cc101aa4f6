"""The sweep as it happens, on a terminal or in a log: phase, trial, time left, figures, and what is waited for.

Why here: the only file that draws progress. It reads news and knows neither Ray nor how they are made.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn

from orchestrator.plan.news import News

Read = Callable[[], Mapping[str, News]]

LINE_SECONDS = 60.0
"""In a log: between two lines about what is running."""

TOLD_SECONDS = 240.0
"""In a log: every piece of work is told of once in so long, several in a line where there are many."""

SILENT_SECONDS = 60.0
"""Work that sends no news for so long is said to; it posts every few seconds, except where it is restarted."""

WAIT_SECONDS = 5.0
"""A wait that is over before is none: a free device takes a moment to begin."""

SPEED_SECONDS = 600.0
"""Steps of so long a time tell the speed, and with it the time left."""


@dataclass
class _Shown:
    """What was last seen and last written about one key.

    Attributes:
        news: The latest.
        task: Its bar.
        since: When its phase, or what it waits for, began.
        seen_at: When the latest news came.
        said_at: When a line last told of it.
    """

    news: News
    task: TaskID
    since: float
    seen_at: float
    said_at: float = -math.inf


class LiveView:
    """Shows news until the block ends; lines of text where the output is no terminal.

    Args:
        console: Where to.
        read: Returns the latest news per subject; what ranks take of their machines is passed on and not shown.
        total: Trials in all.
        done: Trials that were finished before.
        seen: Called with all news at every look.
        seconds: Between two looks.
        now: Seconds, monotonic.
    """

    def __init__(
        self,
        console: Console,
        read: Read,
        total: int,
        done: int = 0,
        seen: Callable[[Mapping[str, News]], None] = lambda news: None,
        seconds: float = 0.5,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self.read, self.total, self.done, self.now = console, read, total, done, now
        self.seen = seen
        self.seconds = seconds if console.is_terminal else max(seconds, 1.0)
        self._started, self._line_at = now(), -math.inf
        self._over: set[str] = set()
        self._shown: dict[str, _Shown] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._bars = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            TextColumn("{task.fields[phase]}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            auto_refresh=False,
            speed_estimate_period=SPEED_SECONDS,
            get_time=now,
        )
        self._live = Live(self._bars, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveView":
        """Start showing."""
        if self.console.is_terminal:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop showing; nothing reads news afterwards."""
        self._stop.set()
        self._thread.join()
        if self.console.is_terminal:
            self._live.stop()

    def finished(self, key: str, text: str) -> None:
        """Say that a trial is finished; its news are not shown any more."""
        self.forget(key)
        self.done += 1
        self.say(f"[bold]{self.done}/{self.total}[/bold] {text}")

    def forget(self, key: str) -> None:
        """Show no more news of a key."""
        self._over.add(key)

    def expect(self, key: str) -> None:
        """Show news of a key again."""
        self._over.discard(key)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(f"[dim]{clock(self.now() - self._started)}[/dim] {text}", highlight=False, soft_wrap=True)

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            self.look()

    def look(self) -> None:
        """Take the latest news and show them."""
        news = {subject: item for subject, item in self.read().items() if item.key not in self._over}
        self.seen(news)
        news = {item.key: item for item in news.values() if item.rank is None}
        for key in self._shown.keys() - news.keys():
            self._bars.remove_task(self._shown.pop(key).task)
        for key, item in news.items():
            self._take(key, item)
        if not self.console.is_terminal:
            self._log()

    def _take(self, key: str, item: News) -> None:
        """Bring what is shown of a key up to date."""
        now, shown = self.now(), self._shown.get(key)
        if shown is None or shown.news.phase != item.phase or shown.news.num_steps != item.num_steps:
            said_at = shown.said_at if shown else -math.inf
            if shown:
                self._bars.remove_task(shown.task)
            task = self._bars.add_task(
                key, total=item.num_steps or None, completed=item.step, phase="", count="", text=""
            )
            shown = self._shown[key] = _Shown(item, task, now, now, said_at)
        elif shown.news != item:
            if shown.news.waits_for != item.waits_for:
                shown.since = now
            shown.news, shown.seen_at = item, now
        self._bars.update(
            shown.task,
            completed=item.step,
            phase=item.phase,
            count=f"{item.step}/{item.num_steps}" if item.num_steps else "",
            text=self._text(shown),
        )

    def _text(self, shown: _Shown) -> str:
        """Return what is waited for, how long there were no news, or the figures."""
        now, item = self.now(), shown.news
        if item.waits_for:
            if now - shown.since < WAIT_SECONDS:
                return ""
            return f"waits for {item.waits_for} ({clock(now - shown.since)} so far)"
        if now - shown.seen_at >= SILENT_SECONDS:
            return f"no news for {clock(now - shown.seen_at)}: a long step, or its workers are being restarted"
        return "  ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in item.numbers.items())

    def _log(self) -> None:
        """Print the line of this minute: what was not told of for longest, and is no wait that may be none."""
        now = self.now()
        told = [s for s in self._shown.values() if not s.news.waits_for or now - s.since >= WAIT_SECONDS]
        if not told or now - self._line_at < LINE_SECONDS:
            return
        told = sorted(told, key=lambda shown: shown.said_at)[: math.ceil(len(told) * LINE_SECONDS / TOLD_SECONDS)]
        self._line_at = now
        for shown in told:
            shown.said_at = now
        line = f"{clock(now - self._started)} {' | '.join(map(self._about, told))}"
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _about(self, shown: _Shown) -> str:
        """Return where a piece of work is, with the time left and its figures."""
        item = shown.news
        count = f" {item.step}/{item.num_steps}" if item.num_steps else ""
        left = _left(self._bars.tasks[self._bars.task_ids.index(shown.task)])
        return f"{item.key}: {item.phase}{count}{left}  {self._text(shown)}".rstrip()


def _number(value: float) -> str:
    """Return a figure as people read it: three digits, or as many as stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _left(task: Task) -> str:
    """Return the time left of a phase, by its own speed."""
    return f"  left {clock(task.time_remaining)}" if task.time_remaining else ""


def clock(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def clock_range(least: float, most: float) -> str:
    """Return two durations as `clock` does, or one where both are the same."""
    return " to ".join(dict.fromkeys((clock(least), clock(most))))
