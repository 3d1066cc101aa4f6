"""The search space and its architectures as plain data: tables that read like the paper's, no torch.

Every room agrees on these values. A space is a list of rows; a row is one or more layers in sequence; a
layer with more than one candidate is a position. Shapes are never computed here: `cost.trace` runs the modules.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from supernet.errors import InputError, nearest

Path = tuple[int, ...]
"""One candidate index per position, as the supernet runs it in one step."""

SCALES = ("always", "up", "never")


@dataclass(frozen=True)
class Op:
    """One operator with its arguments, for instance `mbconv` with kernel 5 and expansion 6."""

    name: str
    args: tuple[tuple[str, int | float | str], ...] = ()

    @cached_property
    def short(self) -> str:
        """Short form for architecture ids: `k5e6` for an mbconv, `z` for Zero, `conv_k3` for others."""
        if self.name == "zero":
            return "z"
        initials = "".join(f"{key[0]}{value}" for key, value in self.args)
        return initials if self.name == "mbconv" else "_".join(filter(None, (self.name.replace("_", ""), initials)))


ZERO = Op("zero")


@dataclass(frozen=True)
class Row:
    """A row of the space's table: `num_blocks` layers with the same candidates and output channels.

    The first layer has the row's stride and changes the channels; with `residual`, every layer that keeps
    its shape has an identity shortcut; with `skip`, those layers also have the Zero candidate.
    """

    name: str
    candidates: tuple[Op, ...]
    channels: int
    num_blocks: int = 1
    stride: int = 1
    residual: bool = False
    skip: bool = False
    scale: Literal["always", "up", "never"] = "always"


@dataclass(frozen=True)
class Layer:
    """One place in the network: the candidates that may stand there, and the shapes they must fit."""

    name: str
    row: int
    in_channels: int
    out_channels: int
    stride: int
    residual: bool
    candidates: tuple[Op, ...]

    @property
    def searched(self) -> bool:
        """Whether there is a choice here: such a layer is a position."""
        return len(self.candidates) > 1


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
    _check_keys(definition, known, {"name", "input_size", "num_classes", "rows"}, place)
    size = definition["input_size"]
    if not (isinstance(size, list | tuple) and len(size) == 3 and all(isinstance(n, int) and n > 0 for n in size)):
        raise InputError(f"{place}.input_size: {size!r}; expected [channels, height, width], three positive integers")
    rows = tuple(_read_row(row, f"{place}.rows[{i}]") for i, row in enumerate(definition["rows"]))
    channels = dict(definition.get("channels", {}))
    names = [row.name for row in rows]
    if len(set(names)) != len(names):
        raise InputError(f"{place}.rows: names must differ, got {names}")
    for name in channels:
        if name not in names:
            raise InputError(f"{place}.channels: unknown row {name!r}{nearest(name, names)}")
    rows = tuple(Row(**{**row.__dict__, "channels": channels.get(row.name, row.channels)}) for row in rows)
    num_classes = definition["num_classes"]
    if not isinstance(num_classes, int) or num_classes < 2:
        raise InputError(f"{place}.num_classes: {num_classes!r}; expected an integer of at least 2")
    return Space(
        name=str(definition["name"]),
        input_size=(size[0], size[1], size[2]),
        num_classes=num_classes,
        rows=rows,
        width_mult=float(definition.get("width_mult", 1.0)),
        dropout=float(definition.get("dropout", 0.0)),
        operators=str(definition.get("operators", "")),
    )


ROW_KEYS = ("name", "channels", "blocks", "stride", "residual", "skip", "scale", "candidates")


def _read_row(row: Mapping[str, Any], place: str) -> Row:
    """Read one row; its operators stand inline (`op: mbconv, kernel_size: [3, 5]`) or under `candidates`."""
    _check_keys(row, None, {"name"}, place)
    place = f"{place} ({row['name']})"
    inline = {key: value for key, value in row.items() if key not in ROW_KEYS}
    specs = row.get("candidates", [inline] if inline else [])
    if inline and "candidates" in row:
        raise InputError(f"{place}: {sorted(inline)} beside 'candidates'; write operators inline or as candidates")
    candidates = tuple(op for spec in specs for op in _expand(spec, place))
    if not candidates:
        raise InputError(f"{place}: no operator; write 'op: NAME' with its arguments, or 'candidates: [...]'")
    if len(set(candidates)) != len(candidates):
        raise InputError(f"{place}: the same candidate stands twice: {[op.short for op in candidates]}")
    numbers = {key: row.get(key, 1) for key in ("blocks", "stride", "channels")}
    for key, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{place}.{key}: {value!r}; expected a positive integer")
    scale = row.get("scale", "always")
    if scale not in SCALES:
        raise InputError(f"{place}.scale: {scale!r}{nearest(str(scale), SCALES)}")
    return Row(
        name=str(row["name"]),
        candidates=candidates,
        channels=numbers["channels"],
        num_blocks=numbers["blocks"],
        stride=numbers["stride"],
        residual=bool(row.get("residual", False)),
        skip=bool(row.get("skip", False)),
        scale=scale,
    )


def _expand(spec: Mapping[str, Any], place: str) -> Iterable[Op]:
    """Expand lists in an operator's arguments into their product, first argument outermost."""
    if "op" not in spec:
        raise InputError(f"{place}: operator without 'op': {dict(spec)!r}")
    args = {key: value for key, value in spec.items() if key != "op"}
    choices = [value if isinstance(value, list) else [value] for value in args.values()]
    for values in itertools.product(*choices):
        yield Op(str(spec["op"]), tuple(zip(args, values, strict=True)))


def _check_keys(mapping: Any, known: set[str] | None, required: set[str], place: str) -> None:
    if not isinstance(mapping, Mapping):
        raise InputError(f"{place}: {mapping!r}; expected a mapping")
    for key in mapping:
        if known is not None and key not in known:
            raise InputError(f"{place}: unknown key {key!r}{nearest(str(key), known)}")
    missing = required - mapping.keys()
    if missing:
        raise InputError(f"{place}: missing {', '.join(sorted(missing))}")
