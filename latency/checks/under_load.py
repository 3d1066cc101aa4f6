"""Does a busy neighbour spoil a table unnoticed? Builds one quietly and one beside a busy process on its own core.

The table that comes out under load must agree with the quiet one, or none may come out. Where they differ, a second
quiet one tells whether it was the neighbour, or the machine that moved by itself.
"""

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from latency.checks.probe_networks import uniform_path
from latency.checks.verdict import Verdict
from latency.errors import MachineTooNoisy
from latency.measuring.job import Progress
from latency.measuring.machine import fast_cores
from latency.tables.build import build_table
from latency.tables.table import LatencyTable
from latency.target import Target
from supernet.errors import InputError
from supernet.space import Space

TOLERANCE = 0.03
NUM_NETWORKS = 200


@dataclass(frozen=True)
class LoadReport:
    """What came of building under load.

    Attributes:
        verdict: Holds if the loaded table agrees within `TOLERANCE` or was refused; too noisy if quiet ones disagree.
        refused: Why no table came out, or why nothing can be told, or empty.
        worst: Largest relative difference of predicted latencies, over random, smallest and largest networks.
        mean: Mean absolute one.
        worst_row: Largest relative difference of a single row.
        clean_share: Undisturbed calls under load, if a table came out.
    """

    verdict: Verdict
    refused: str
    worst: float | None = None
    mean: float | None = None
    worst_row: float | None = None
    clean_share: float | None = None

    def text(self) -> str:
        """Return it in a sentence."""
        if self.refused:
            return f"{self.verdict}: {self.refused}"
        return (
            f"{self.verdict}: predictions differ from the quiet table's by {self.mean:.1%} on average and "
            f"{self.worst:.1%} at worst ({TOLERANCE:.0%} allowed), {self.clean_share:.0%} of calls undisturbed"
        )


def verify_under_load(
    space: Space,
    target: Target,
    *,
    seconds: float | None = None,
    progress: Progress = lambda text, share: None,
    build: Callable[..., LatencyTable] = build_table,
) -> LoadReport:
    """Build a table alone and one with a busy process on the same core; another one alone if they differ.

    Args:
        space: What to measure.
        target: On what.
        seconds: Measuring time wanted of each table.
        progress: Called with what is being done and its share done.
        build: Builds a table; another one simulates it.

    Raises:
        InputError: If the target does not run on this machine's processor.
    """
    cores = fast_cores()[: target.threads]
    if not target.traits.own_process or not cores:
        raise InputError(f"target {target.name}: a busy processor can only be made for targets on this processor")
    pinned = replace(target, options={**target.options, "cores": cores})
    with tempfile.TemporaryDirectory(prefix="onepath-load-") as folder:
        try:
            quiet = build(space, pinned, f"{folder}/quiet", seconds=seconds, progress=progress)
            try:
                with busy(cores):
                    loaded = build(space, pinned, f"{folder}/loaded", seconds=seconds, progress=progress)
            except MachineTooNoisy as error:
                return LoadReport(Verdict.HOLDS, f"no table came out: {error}")
            report = compare(quiet, loaded)
            if report.verdict == Verdict.HOLDS:
                return report
            again = compare(quiet, build(space, pinned, f"{folder}/again", seconds=seconds, progress=progress))
        except MachineTooNoisy as error:
            return LoadReport(Verdict.TOO_NOISY, f"even without it: {error}")
    if again.verdict == Verdict.HOLDS:
        return report
    return replace(
        report,
        verdict=Verdict.TOO_NOISY,
        refused=f"two tables built without it differ by {again.worst:.1%} at worst: the machine moved by itself",
    )


def compare(quiet: LatencyTable, loaded: LatencyTable) -> LoadReport:
    """Compare two tables of one space by what they predict."""
    first, second, rng = quiet.cost_table(), loaded.cost_table(), random.Random(0)
    paths = [uniform_path(quiet.space, rng) for _ in range(NUM_NETWORKS)]
    pairs = [(first.total(path), second.total(path)) for path in paths]
    pairs += [(first.minimum, second.minimum), (first.maximum, second.maximum)]
    errors = [abs(b / a - 1) for a, b in pairs]
    rows = [
        abs(b / a - 1)
        for row_a, row_b in zip(first.candidates, second.candidates, strict=True)
        for a, b in zip(row_a, row_b, strict=True)
        if a > 0
    ]
    return LoadReport(
        verdict=Verdict.HOLDS if max(errors) <= TOLERANCE else Verdict.FALLS_SHORT,
        refused="",
        worst=max(errors),
        mean=sum(errors) / len(errors),
        worst_row=max(rows),
        clean_share=loaded.info["clean_share"],
    )


@contextmanager
def busy(cores: list[int]) -> Iterator[None]:
    """Keep some cores busy, one process each, at the usual priority."""
    hogs = [
        subprocess.Popen([sys.executable, "-c", f"import os\nos.sched_setaffinity(0, [{core}])\nwhile True: pass"])
        for core in cores
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
