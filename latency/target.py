"""What a target is: the thing a latency belongs to, read from YAML. Knows no runtime's code.

A target is runtime x device x threads x batch x precision with the runtime's options; the input size comes from
the space or network that is measured on it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from supernet.errors import InputError, nearest
from supernet.presets import preset_names, read_preset

COUNTED = ("params", "macs")
"""Runtimes that count instead of measuring."""

PUBLISHED = "published"
"""The runtime of tables that were measured elsewhere and are packaged."""

KEYS = ("name", "runtime", "device", "threads", "batch", "precision", "options")


@dataclass(frozen=True)
class Target:
    """One thing to be fast on.

    Attributes:
        name: Short name, used in file names and Ray resources.
        runtime: A runtime of `runtimes.registry`, or one of `COUNTED`, or `published`.
        device: `cpu`, `cuda`, `cuda:1`, or free text for a device behind a command.
        threads: Threads of one inference (CPU targets).
        batch: Images of one inference; a latency is that of the whole batch.
        precision: One of the runtime's precisions.
        options: Settings of the runtime, see `docs/latency.md`.
    """

    name: str
    runtime: str
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """`ms`, or `1` for targets that count."""
        return "1" if self.runtime in COUNTED else "ms"

    @property
    def measured(self) -> bool:
        """Whether a table of this target is measured on a machine (not counted, not packaged)."""
        return self.runtime not in COUNTED and self.runtime != PUBLISHED

    @property
    def cpu(self) -> bool:
        """Whether inference runs on the processor that also times it."""
        return self.runtime != "command" and self.device == "cpu"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, read back by `read_target`."""
        return {**asdict(self), "options": dict(self.options)}


def target_names() -> list[str]:
    """Return the names of the packaged targets."""
    return preset_names("targets")


def load_target(reference: str) -> Target:
    """Load a target by preset name or YAML path.

    Raises:
        InputError: If there is no such target or it does not read.
    """
    loaded, place = read_preset("targets", reference)
    if not isinstance(loaded, Mapping):
        raise InputError(f"{place}: {loaded!r}; expected a mapping with keys {', '.join(KEYS)}")
    return read_target(loaded, place)


def read_target(definition: Mapping[str, Any], place: str) -> Target:
    """Read a target from plain data.

    Raises:
        InputError: On unknown or missing keys and impossible values, naming the key.
    """
    for key in definition:
        if key not in KEYS:
            raise InputError(f"{place}: unknown key {key!r}{nearest(str(key), KEYS)}")
    missing = {"name", "runtime"} - definition.keys()
    if missing:
        raise InputError(f"{place}: missing {', '.join(sorted(missing))}")
    name, runtime = str(definition["name"]), str(definition["runtime"])
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise InputError(f"{place}.name: {name!r}; use letters, digits, '-', '_' and '.' (it becomes a file name)")
    precisions = _precisions(runtime, f"{place}.runtime")
    for key in ("threads", "batch"):
        value = definition.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{place}.{key}: {value!r}; expected a positive integer")
    precision = str(definition.get("precision", "fp32"))
    if precision not in precisions:
        raise InputError(f"{place}.precision: {runtime} has no {precision!r}; it has {', '.join(precisions)}")
    options = definition.get("options") or {}
    if not isinstance(options, Mapping):
        raise InputError(f"{place}.options: {options!r}; expected a mapping")
    default_device = "cuda" if runtime.startswith("cuda") else "cpu"
    return Target(
        name=name,
        runtime=runtime,
        device=str(definition.get("device", default_device)),
        threads=definition.get("threads", 1),
        batch=definition.get("batch", 1),
        precision=precision,
        options=dict(options),
    )


def _precisions(runtime: str, place: str) -> tuple[str, ...]:
    from latency.runtimes.registry import RUNTIMES  # the registry speaks of targets

    known = {name: entry.precisions for name, entry in RUNTIMES.items()}
    known |= dict.fromkeys((*COUNTED, PUBLISHED), ("fp32",))
    if runtime not in known:
        raise InputError(f"{place}: unknown runtime {runtime!r}{nearest(runtime, known)}")
    return known[runtime]
