"""One measuring job: plain data in, plain data back, and whether it can be believed. Knows no tables, starts nothing.

One job measures everything that is to be compared; `process` runs it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from latency.errors import NotRunnable
from latency.graphs.model import Choice
from latency.graphs.quantise import DEFAULT, Quantisation
from latency.measuring.machine import allowed_cores, fast_cores, not_installed
from latency.measuring.sentinels import SentinelStats
from latency.measuring.summary import MAX_MOVED, Stats
from latency.measuring.timing import Plan
from latency.runtimes.base import load_runtime
from latency.target import Target
from supernet.plain import Unbounded, read
from supernet.space import Space

Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it is done, 0..1."""

MAX_SECONDS = 86_400
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]


@dataclass(frozen=True)
class Item:
    """One thing to time: layers of the job's space in sequence, or a model file.

    Attributes:
        key: Its name in the result.
        choices: (layer, candidate) pairs, or empty for a file.
        input_shape: (C, H, W) of the first of them.
        file: `.onnx` or `.pt2`, in fp32 or in the target's precision.
        precision: Of a file that is to run although it is in another one.
        weights: Safetensors file with the weights of `choices`; random ones if empty.
        visits: Visits per round.
        whole: Whether `choices` are a whole network: where modules run, it is measured in the form in which it is
            delivered, for a torch export of a small network takes longer than its module.
        stream_bytes: Memory to read through before each timed call, as the rest of a network would.
        check: Compare the outputs with those of the module of `choices` in fp32.
        int8: How it becomes int8 on targets of that precision.
    """

    key: str
    choices: tuple[Choice, ...] = ()
    input_shape: tuple[int, ...] = ()
    file: str = ""
    precision: str = ""
    weights: str = ""
    visits: int = 1
    whole: bool = False
    stream_bytes: int = 0
    check: bool = False
    int8: Quantisation = DEFAULT

    @property
    def is_network(self) -> bool:
        """Whether it is a whole network, given as choices or as a file."""
        return self.whole or bool(self.file)


@dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
        target: On what.
        items: What, all in the same interleaved rounds.
        space: The space of the items' choices, if any.
        plan: How long and how carefully.
        images: `.npy` file with images to calibrate quantisation, shape (M, C, H, W); random if empty.
        work_folder: Where checkpoints and prepared files survive an interruption; empty for none.
        seed: Order of the rounds.
    """

    target: Target
    items: tuple[Item, ...]
    space: Space | None = None
    plan: Plan = field(default_factory=Plan)
    images: str = ""
    work_folder: str = ""
    seed: int = 0


@dataclass(frozen=True)
class JobResult:
    """What the process found.

    Attributes:
        stats: Per item.
        sentinels: Per reference kernel, without prefix.
        clean_share: Undisturbed calls among all.
        moved: By how much slower the machine was in the slowest phase that counts than in the fastest, as a fraction.
        num_rounds: Interleaved rounds.
        num_phases: Phases of rounds that count, each in fresh processes; also those of an interrupted run.
        num_unlike: Phases that do not, for a reference kernel or all items together were too slow or fast in them.
        parity: For items with `check`: largest difference from the module's outputs in fp32, relative to the largest.
        prepare_seconds: Time spent making models runnable.
        measure_seconds: Time spent timing.
    """

    stats: dict[str, Stats]
    sentinels: dict[str, SentinelStats]
    clean_share: float
    moved: Unbounded
    num_rounds: int
    num_phases: int
    num_unlike: int
    parity: dict[str, Unbounded]
    prepare_seconds: float
    measure_seconds: float


def plan_for(target: Target, seconds: float, *, visit_ms: float = 3.0, tolerance: float = 0.01) -> Plan:
    """Return the plan of a target: an external program warms up by itself and is started as rarely as possible.

    Raises:
        InputError: If the time is not a number of seconds up to a day.
    """
    seconds = read(Seconds, seconds, "seconds")
    plan = Plan(seconds=seconds, max_seconds=3.0 * seconds, visit_ms=visit_ms, tolerance=tolerance)
    if not target.traits.external:
        return plan
    return replace(
        plan,
        phases=3,
        min_rounds=1,
        visit_ms=0.0,
        min_calls=target.settings.runs,
        warm_ms=0.0,
        warm_calls=0,
    )


def require_runnable(target: Target) -> None:
    """Check that this machine can run a target.

    Raises:
        NotRunnable: If a package, a device or a core is missing, naming the remedy.
    """
    reason = why_not(target)
    if reason:
        raise NotRunnable(f"target {target.name}: {reason}")


def why_not(target: Target) -> str:
    """Say why this machine cannot measure the target, or return an empty string."""
    return lacking(target) or _lacking_cores(target)


def lacking(target: Target) -> str:
    """Say what this machine lacks to run the target, in whatever time, or return an empty string."""
    known = target.traits
    missing = not_installed(known.needs)
    if missing:
        extra = f"onepath[{known.extra}]" if known.extra else " ".join(missing)
        return f"needs {', '.join(missing)}, not installed; pip install '{extra}'"
    return load_runtime(target.runtime).missing(target)


def _lacking_cores(target: Target) -> str:
    """Say which cores it lacks: on fewer than it has threads these wait for one another, and no call is undisturbed."""
    if not target.traits.own_process:
        return ""
    allowed, chosen = allowed_cores(), set(target.settings.cores or ())
    absent = sorted(chosen - set(allowed))
    if absent:
        return f"options.cores: core {absent[0]} may not be used here; those that may: {_listed(allowed)}"
    usable = sorted(chosen) or fast_cores() or range(os.cpu_count() or 1)
    if target.threads <= len(usable):
        return ""
    more = ", or name more in options.cores" if chosen else ""
    cores = f"{len(usable)} {'cores' if len(usable) > 1 else 'core'} ({_listed(usable)})"
    return f"{target.threads} threads would wait for one another on {cores}; set threads to {len(usable)} at most{more}"


def _listed(cores: Sequence[int]) -> str:
    if len(cores) > 2 and cores[-1] - cores[0] == len(cores) - 1:
        return f"{cores[0]} to {cores[-1]}"
    return ", ".join(map(str, cores)) or "none"


def noise_reason(result: JobResult, keys: Sequence[str], max_error: float) -> str:
    """Say why a run was too disturbed to be believed, or return an empty string.

    Args:
        result: The run.
        keys: Items that matter.
        max_error: Largest relative error of an item, see `Stats`.
    """
    if result.clean_share < MIN_CLEAN_SHARE:
        return f"only {result.clean_share:.0%} of the calls ran undisturbed ({MIN_CLEAN_SHARE:.0%} are needed)"
    if result.num_unlike > 2 * result.num_phases:
        return (
            f"in {result.num_unlike} of {result.num_unlike + result.num_phases} phases a reference kernel, or all "
            f"items together, were slower or faster by more than {MAX_MOVED:.0%} than in the typical one (two thirds "
            f"of them may be)"
        )
    if result.num_phases < 2:
        return f"{result.num_phases} phases in which every item had an undisturbed call (2 are needed)"
    bad = [key for key in keys if not result.stats[key].relative_error <= max_error]
    if bad:
        worst = max(bad, key=lambda key: result.stats[key].relative_error)
        return (
            f"{len(bad)} of {len(keys)} items are known worse than to {max_error:.1%} "
            f"(worst: {worst}, {result.stats[worst].relative_error:.1%})"
        )
    return ""


MIN_CLEAN_SHARE = 0.3
