"""What a target is: the thing a latency belongs to, read from YAML. Knows the runtimes' traits, none of their code.

A target is runtime x device x threads x batch x precision with the runtime's options; the input size comes from
the space or network that is measured on it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from latency.runtimes.options import Options, PublishedOptions
from latency.runtimes.registry import RUNTIMES, Entry
from supernet.errors import InputError, nearest
from supernet.plain import STRICT, Count, Name, Text, read
from supernet.presets import preset_names, read_preset

COUNTED = ("params", "macs")
"""Runtimes that count instead of measuring."""

PUBLISHED = "published"
"""The runtime of tables that were measured elsewhere and are packaged."""

_COUNTED = Entry("", ("fp32",), devices=".{1,100}", options=Options)
_UNMEASURED = {**dict.fromkeys(COUNTED, _COUNTED), PUBLISHED: replace(_COUNTED, options=PublishedOptions)}


class TargetKeys(BaseModel):
    """A target as it is written, see `Target`."""

    model_config = ConfigDict(**STRICT, frozen=True)
    name: Name
    runtime: Text
    device: Text | None = None
    threads: Annotated[Count, Field(le=4096)] = 1
    batch: Annotated[Count, Field(le=65536)] = 1
    precision: Text = "fp32"
    options: dict[str, Any] | None = None


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
    def traits(self) -> Entry:
        """How its runtime is measured."""
        return _traits(self.runtime, f"target {self.name}")

    @property
    def settings(self) -> Any:
        """The options with their defaults, typed: an instance of `traits.options`."""
        return read(self.traits.options, self.options, f"target {self.name}: options")

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
    return read_target(loaded, place)


def read_target(definition: Mapping[str, Any], place: str) -> Target:
    """Read a target from plain data.

    Raises:
        InputError: On unknown or missing keys and impossible values, naming the key.
    """
    keys: TargetKeys = read(TargetKeys, definition, place)
    traits = _traits(keys.runtime, f"{place}.runtime")
    if keys.precision not in traits.precisions:
        known = ", ".join(traits.precisions)
        raise InputError(f"{place}.precision: {keys.runtime} has no {keys.precision!r}; it has {known}")
    device = keys.device or traits.device
    if not re.fullmatch(traits.devices, device):
        raise InputError(f"{place}.device: {device!r}; {keys.runtime} runs on {traits.devices}")
    read(traits.options, keys.options or {}, f"{place}.options")
    return Target(
        name=keys.name,
        runtime=keys.runtime,
        device=device,
        threads=keys.threads,
        batch=keys.batch,
        precision=keys.precision,
        options=keys.options or {},
    )


def _traits(runtime: str, place: str) -> Entry:
    known = {**RUNTIMES, **_UNMEASURED}
    if runtime not in known:
        raise InputError(f"{place}: unknown runtime {runtime!r}{nearest(runtime, known)}")
    return known[runtime]
