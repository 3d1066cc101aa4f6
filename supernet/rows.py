"""One row of a space's table: its operators, its layers, and how it is read from plain data. No torch.

Why apart from `space`: a row knows only itself. Widths, positions and architectures are the space's matter.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from supernet.errors import InputError, nearest

SCALES = ("always", "up", "never")

STYLE_ARGS = ("activation", "bn_eps", "bn_momentum")
"""Arguments that ids leave out: they are the same for all candidates of a layer, and the space states them."""


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
        initials = "".join(f"{key[0]}{value}" for key, value in self.args if key not in STYLE_ARGS)
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


ROW_KEYS = ("name", "channels", "blocks", "stride", "residual", "skip", "scale", "candidates")


def read_row(row: Any, place: str) -> Row:
    """Read one row; its operators stand inline (`op: mbconv, kernel_size: [3, 5]`) or under `candidates`.

    Args:
        row: Keys as in `configs/spaces/*.yaml`; every other key is an argument of the inline operator.
        place: Where the row stands, for messages.

    Raises:
        InputError: On a missing key or an impossible value, naming the row.
    """
    check_keys(row, None, {"name"}, place)
    place = f"{place} ({row['name']})"
    scale = row.get("scale", "always")
    if scale not in SCALES:
        raise InputError(f"{place}.scale: {scale!r}{nearest(str(scale), SCALES)}")
    return Row(
        name=str(row["name"]),
        candidates=_read_candidates(row, place),
        channels=whole(row.get("channels", 1), f"{place}.channels", least=1),
        num_blocks=whole(row.get("blocks", 1), f"{place}.blocks", least=1),
        stride=whole(row.get("stride", 1), f"{place}.stride", least=1),
        residual=_flag(row.get("residual", False), f"{place}.residual"),
        skip=_flag(row.get("skip", False), f"{place}.skip"),
        scale=scale,
    )


def _read_candidates(row: Mapping[str, Any], place: str) -> tuple[Op, ...]:
    inline = {key: value for key, value in row.items() if key not in ROW_KEYS}
    if inline and "candidates" in row:
        raise InputError(f"{place}: {sorted(inline)} beside 'candidates'; write operators inline or as candidates")
    specs = row.get("candidates", [inline] if inline else [])
    if not isinstance(specs, list | tuple):
        raise InputError(f"{place}.candidates: {specs!r}; expected a list of operators")
    candidates = tuple(op for spec in specs for op in _expand(spec, place))
    if not candidates:
        raise InputError(f"{place}: no operator; write 'op: NAME' with its arguments, or 'candidates: [...]'")
    shorts = [op.short for op in candidates]
    if len(set(shorts)) != len(shorts):
        raise InputError(f"{place}: the same candidate stands twice: {shorts}")
    for short in shorts:
        if not re.fullmatch(r"[A-Za-z0-9_.]+", short):
            raise InputError(f"{place}: {short!r} would stand in ids; expected letters, digits, '_' and '.' only")
    return candidates


def _expand(spec: Any, place: str) -> Iterable[Op]:
    """Expand lists in an operator's arguments into their product, first argument outermost."""
    check_keys(spec, None, {"op"}, f"{place}: operator")
    args = {key: value for key, value in spec.items() if key != "op"}
    choices = [value if isinstance(value, list) else [value] for value in args.values()]
    for values in itertools.product(*choices):
        if not all(isinstance(value, int | float | str) for value in values):
            raise InputError(f"{place}: {dict(spec)!r}; expected numbers or texts as arguments, or lists of them")
        yield Op(str(spec["op"]), tuple(zip(args, values, strict=True)))


def whole(value: Any, place: str, *, least: int) -> int:
    """Return `value` if it is an integer of at least `least`, else raise `InputError` naming `place`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{place}: {value!r}; expected an integer of at least {least}")
    return value


def _flag(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{place}: {value!r}; expected true or false")
    return value


def check_keys(mapping: Any, known: set[str] | None, required: set[str], place: str) -> None:
    """Raise `InputError` unless `mapping` is one, holds the required keys and only known ones (None: any)."""
    if not isinstance(mapping, Mapping):
        raise InputError(f"{place}: {mapping!r}; expected a mapping")
    for key in mapping:
        if known is not None and key not in known:
            raise InputError(f"{place}: unknown key {key!r}{nearest(str(key), known)}")
    missing = required - mapping.keys()
    if missing:
        raise InputError(f"{place}: missing {', '.join(sorted(missing))}")
