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
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from supernet.errors import InputError, nearest
from supernet.plain import STRICT, Count, Name, NotNegative, Positive, read, read_json
from supernet.rows import ZERO, Channels, Layer, Row, RowKeys, make_divisible, read_row

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

    def kept(self, path: Path) -> tuple[tuple[int, int], ...]:
        """Return what remains of a path in a network: (layer index, candidate index) in order; Zero is gone."""
        walk = enumerate(self.along(path, 0))
        return tuple((number, index) for number, (layer, index) in walk if layer.candidates[index] != ZERO)

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


MAX_CANDIDATES = 5000
"""Of a space, counted over all layers: every one is built and run to know its shapes."""

Side = Annotated[Count, Field(le=4096)]


class SpaceKeys(BaseModel):
    """A space as it is written, see `read_space`."""

    model_config = ConfigDict(**STRICT, frozen=True)
    name: Name
    input_size: tuple[Side, Side, Side]
    num_classes: Annotated[Count, Field(ge=2, le=1_000_000)]
    rows: Annotated[tuple[RowKeys, ...], Field(min_length=1, max_length=500)]
    width_mult: Annotated[Positive, Field(ge=0.01, le=100)] = 1.0
    dropout: Annotated[NotNegative, Field(le=0.99)] = 0.0
    operators: Annotated[str, StringConstraints(pattern=r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?$", max_length=200)] = ""
    channels: dict[str, Channels] = {}


class _ArchitectureKeys(BaseModel):
    """A file of one architecture."""

    model_config = ConfigDict(**STRICT, frozen=True)
    id: str
    stages: tuple[tuple[str, ...], ...]
    space: dict[str, Any]


def architecture_to_json(space: Space, architecture: Architecture) -> str:
    """Return a self-contained JSON text: the architecture together with its whole space."""
    record = {"id": architecture.id, "stages": architecture.stages, "space": space.to_dict()}
    return json.dumps(record, indent=1)


def architecture_from_json(text: bytes | str, place: str) -> tuple[Space, Architecture]:
    """Read what `architecture_to_json` wrote.

    Raises:
        InputError: If the text is not such a JSON object, naming `place`.
    """
    record: _ArchitectureKeys = read_json(_ArchitectureKeys, text, place)
    space = read_space(record.space, f"{place}.space")
    architecture = Architecture(space.name, record.stages)
    if architecture.id != record.id:
        raise InputError(
            f"{place}: its id {record.id!r} is not that of its stages, {architecture.id!r}; it was damaged"
        )
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
    keys: SpaceKeys = read(SpaceKeys, definition, place)
    rows = [read_row(row, f"{place}.rows[{index}] ({row.name})") for index, row in enumerate(keys.rows)]
    names = [row.name for row in rows]
    if len(set(names)) != len(names):
        raise InputError(f"{place}.rows: names must differ, got {names}")
    for name in keys.channels.keys() - set(names):
        raise InputError(f"{place}.channels: unknown key {name!r}{nearest(name, names)}")
    num_candidates = sum(row.num_blocks * (len(row.candidates) + row.skip) for row in rows)
    if num_candidates > MAX_CANDIDATES:
        raise InputError(
            f"{place}.rows: {num_candidates} candidates over all layers; a space has at most {MAX_CANDIDATES}"
        )
    return Space(
        name=keys.name,
        input_size=keys.input_size,
        num_classes=keys.num_classes,
        rows=tuple(replace(row, channels=keys.channels.get(row.name, row.channels)) for row in rows),
        width_mult=keys.width_mult,
        dropout=keys.dropout,
        operators=keys.operators,
    )
