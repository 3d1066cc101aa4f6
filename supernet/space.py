"""The search space and its architectures as plain data: tables that read like the paper's, no torch.

Every room agrees on these values. A space is a list of rows; a row is one or more layers in sequence; a
layer with more than one candidate is a position. Shapes are never computed here: `cost.trace` runs the modules.
"""

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from supernet.errors import InputError, nearest
from supernet.rows import ZERO, Layer, Row, check_keys, read_row, whole

T = TypeVar("T")

Path = tuple[int, ...]
"""One candidate index per position, as the supernet runs it in one step."""


@dataclass(frozen=True)
class Architecture:
    """One candidate per position as a value: short names grouped by the space's rows.

    Its `id` is readable and complete, for instance `digits:k3e3~z-k5e6~k3e3`.
    """

    space: str
    stages: tuple[tuple[str, ...], ...]

    @property
    def ops(self) -> tuple[str, ...]:
        """Short operator names, one per position."""
        return tuple(itertools.chain.from_iterable(self.stages))

    @property
    def id(self) -> str:
        """Compact form, read back by `Architecture.parse`."""
        return f"{self.space}:" + "-".join("~".join(stage) for stage in self.stages)

    @classmethod
    def parse(cls, text: str) -> "Architecture":
        """Read a compact id.

        Raises:
            InputError: If the text is not of the form `space:op~op-op~op`.
        """
        space, colon, tail = text.strip().partition(":")
        if not colon or not space:
            raise InputError(f"architecture {text!r}: expected SPACE:OP~OP-OP~OP, for instance digits:k3e3~z-k5e6~k3e3")
        return cls(space, tuple(tuple(stage.split("~")) for stage in tail.split("-")) if tail else ())


@dataclass(frozen=True)
class Space:
    """A search space: input, classes and rows.

    Attributes:
        input_size: (channels, height, width) of one image.
        width_mult: Factor on every row's channels, rounded by `make_divisible`.
        dropout: Rate before the classifier in final training; the search itself uses none.
        operators: Python module that registers the space's own operators, or empty.
    """

    name: str
    input_size: tuple[int, int, int]
    num_classes: int
    rows: tuple[Row, ...]
    width_mult: float = 1.0
    dropout: float = 0.0
    operators: str = ""

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in order, fixed and searched."""
        layers, channels = [], self.input_size[0]
        for index, row in enumerate(self.rows):
            out = self.num_classes if row.candidates[0].name == "classifier" else self._width(row)
            for block in range(row.num_blocks):
                stride = row.stride if block == 0 else 1
                keeps = stride == 1 and channels == out
                candidates = (*row.candidates, ZERO) if row.skip and keeps else row.candidates
                name = row.name if row.num_blocks == 1 else f"{row.name}.{block}"
                residual = (row.residual or row.skip) and keeps
                layers.append(Layer(name, index, channels, out, stride, residual, candidates))
                channels = out
        return tuple(layers)

    @cached_property
    def positions(self) -> tuple[Layer, ...]:
        """The layers where there is a choice."""
        return tuple(layer for layer in self.layers if layer.searched)

    def along(self, items: Iterable[T], fixed: T) -> Iterator[tuple[Layer, T]]:
        """Walk the layers in order, each with what stands at its place: the next item at a position, else `fixed`.

        Args:
            items: One per position: a path's indices, gates, probabilities.
            fixed: For the layers without a choice; the index of their only candidate is 0.
        """
        remaining = iter(items)
        return ((layer, next(remaining) if layer.searched else fixed) for layer in self.layers)

    @property
    def num_architectures(self) -> int:
        """Number of assignments of candidates to positions."""
        return math.prod(len(position.candidates) for position in self.positions)

    def _width(self, row: Row) -> int:
        factor = {"always": self.width_mult, "up": max(1.0, self.width_mult), "never": 1.0}[row.scale]
        return row.channels if factor == 1.0 else make_divisible(row.channels * factor)

    def architecture(self, path: Sequence[int]) -> Architecture:
        """Return the architecture of a path (one candidate index per position)."""
        stages: dict[int, list[str]] = {}
        for position, index in zip(self.positions, path, strict=True):
            stages.setdefault(position.row, []).append(position.candidates[index].short)
        return Architecture(self.name, tuple(tuple(stage) for stage in stages.values()))

    def path(self, architecture: Architecture) -> Path:
        """Return the path of an architecture of this space.

        Raises:
            InputError: If the number of operators or one of them does not fit, naming the layer.
        """
        ops = architecture.ops
        if len(ops) != len(self.positions):
            raise InputError(
                f"architecture {architecture.id}: {len(ops)} operators, but space {self.name!r} has "
                f"{len(self.positions)} positions"
            )
        path = []
        for position, op in zip(self.positions, ops, strict=True):
            names = [candidate.short for candidate in position.candidates]
            if op not in names:
                raise InputError(
                    f"architecture {architecture.id}: {position.name} has no candidate {op!r}{nearest(op, names)}"
                )
            path.append(names.index(op))
        return tuple(path)

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as plain data, read back by `read_space`."""
        rows = []
        for row in self.rows:
            plain = {k: v for k, v in asdict(row).items() if k not in ("candidates", "num_blocks")}
            rows.append(
                {
                    **plain,
                    "blocks": row.num_blocks,
                    "candidates": [{"op": o.name, **dict(o.args)} for o in row.candidates],
                }
            )
        return {
            "name": self.name,
            "input_size": list(self.input_size),
            "num_classes": self.num_classes,
            "width_mult": self.width_mult,
            "dropout": self.dropout,
            "operators": self.operators,
            "rows": rows,
        }


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of `divisor`, never more than 10 % below `value`.

    Source: the rounding of MobileNet code, as the released ProxylessNAS search uses it.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def architecture_to_json(space: Space, architecture: Architecture) -> str:
    """Return a self-contained JSON text: the architecture together with its whole space."""
    record = {"id": architecture.id, "stages": architecture.stages, "space": space.to_dict()}
    return json.dumps(record, indent=1)


def architecture_from_json(text: str, place: str) -> tuple[Space, Architecture]:
    """Read what `architecture_to_json` wrote.

    Raises:
        InputError: If the text is not such a JSON object, naming `place`.
    """
    try:
        record = json.loads(text)
        space = read_space(record["space"], place)
        architecture = Architecture(space.name, tuple(tuple(stage) for stage in record["stages"]))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{place}: not an architecture file ({error!r}); expected keys id, stages, space") from error
    space.path(architecture)
    return space, architecture


def read_space(definition: Mapping[str, Any], place: str) -> Space:
    """Read a space from plain data (parsed YAML or JSON).

    Args:
        definition: Keys as in `configs/spaces/*.yaml`; `channels: {row: number}` overrides single rows.
        place: Where the definition stands, for messages.

    Raises:
        InputError: On unknown keys, missing keys or impossible values, naming the row.
    """
    known = {"name", "input_size", "num_classes", "width_mult", "dropout", "operators", "rows", "channels"}
    check_keys(definition, known, {"name", "input_size", "num_classes", "rows"}, place)
    name = str(definition["name"])
    if not name or ":" in name:
        raise InputError(f"{place}.name: {name!r}; expected a name without ':', it begins the ids of architectures")
    size = definition["input_size"]
    if not (isinstance(size, list | tuple) and len(size) == 3):
        raise InputError(f"{place}.input_size: {size!r}; expected [channels, height, width]")
    channels, height, width = (whole(number, f"{place}.input_size", least=1) for number in size)
    return Space(
        name=name,
        input_size=(channels, height, width),
        num_classes=whole(definition["num_classes"], f"{place}.num_classes", least=2),
        rows=_read_rows(definition["rows"], definition.get("channels", {}), place),
        width_mult=_number(definition.get("width_mult", 1.0), f"{place}.width_mult", 0.01, 100.0),
        dropout=_number(definition.get("dropout", 0.0), f"{place}.dropout", 0.0, 0.99),
        operators=str(definition.get("operators", "")),
    )


def _read_rows(rows: Any, channels: Any, place: str) -> tuple[Row, ...]:
    """Read the table; `channels` replaces the channels of single rows."""
    if not isinstance(rows, list | tuple) or not rows:
        raise InputError(f"{place}.rows: {rows!r}; expected a list of rows")
    read = [read_row(row, f"{place}.rows[{index}]") for index, row in enumerate(rows)]
    names = [row.name for row in read]
    if len(set(names)) != len(names):
        raise InputError(f"{place}.rows: names must differ, got {names}")
    check_keys(channels, set(names), set(), f"{place}.channels")
    widths = {name: whole(value, f"{place}.channels.{name}", least=1) for name, value in channels.items()}
    return tuple(replace(row, channels=widths.get(row.name, row.channels)) for row in read)


def _number(value: Any, place: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{place}: {value!r}; expected a number from {low:g} to {high:g}")
    return float(value)
