"""One row of a space's table: its operators, its layers, and how it is read from plain data. No torch.

Why apart from `space`: a row knows only itself. Widths, positions and architectures are the space's matter.
"""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from supernet.errors import InputError
from supernet.plain import Count, Flag, Name, read

MAX_BLOCKS, MAX_CANDIDATES = 200, 200
"""Of one row."""

Scale = Literal["always", "up", "never"]
Channels = Annotated[Count, Field(le=100_000)]

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
    scale: Scale = "always"


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

    @property
    def bare(self) -> "Layer":
        """What an operator is built for: equal for layers in which it is the same module."""
        return replace(self, name="", row=0, candidates=())


def _argument(value: Any) -> Any:
    choices = value if isinstance(value, list | tuple) else [value]
    if not choices or not all(_plain(choice) for choice in choices):
        raise ValueError("expected a finite number or a short text, or a list of them")
    return list(choices)


def _plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 60
    return isinstance(value, int | float) and abs(value) <= 1e9  # false for NaN


Arguments = dict[str, Annotated[Any, AfterValidator(_argument)]]
"""Arguments of an operator, each a list of choices."""


class OpKeys(BaseModel):
    """One operator as it is written: every key beside `op` is an argument, or a list of them to choose from."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: Arguments
    op: Annotated[str, StringConstraints(min_length=1, max_length=60)]


class RowKeys(BaseModel):
    """One row as it is written; its operators stand inline (`op: mbconv, kernel_size: [3, 5]`) or as `candidates`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Any]
    name: Name
    channels: Channels = 1
    blocks: Annotated[Count, Field(le=MAX_BLOCKS)] = 1
    stride: Annotated[Count, Field(le=64)] = 1
    residual: Flag = False
    skip: Flag = False
    scale: Scale = "always"
    candidates: Annotated[tuple[OpKeys, ...], Field(min_length=1)] | None = None


def read_row(row: RowKeys, place: str) -> Row:
    """Return the row that is meant, each product of an operator's arguments a candidate.

    Args:
        row: As it is written.
        place: Where it stands, for messages.

    Raises:
        InputError: If there is no operator, one stands twice or is Zero, or there are too many, naming the row.
    """
    inline = row.model_extra or {}
    if inline and row.candidates:
        raise InputError(f"{place}: {sorted(inline)} beside 'candidates'; write operators inline or as candidates")
    if not inline and not row.candidates:
        raise InputError(f"{place}: no operator; write 'op: NAME' with its arguments, or 'candidates: [...]'")
    specs = row.candidates or (read(OpKeys, inline, place),)
    if sum(math.prod(map(len, (spec.model_extra or {}).values())) for spec in specs) > MAX_CANDIDATES:
        raise InputError(f"{place}: more than {MAX_CANDIDATES} candidates; list fewer values per argument")
    for name in (name for spec in specs for name in spec.model_extra or {}):
        if not name.isidentifier():
            raise InputError(f"{place}: {name!r} is no name of an argument")
    candidates = tuple(op for spec in specs for op in _expand(spec))
    for op in candidates:
        if op.short == ZERO.short:
            raise InputError(f"{place}: {op.name!r} stands for a dropped block; write 'skip: true' to allow it")
    shorts = [op.short for op in candidates]
    if len(set(shorts)) != len(shorts):
        raise InputError(f"{place}: the same candidate stands twice: {shorts}")
    for short in shorts:
        if not re.fullmatch(r"[A-Za-z0-9_.]{1,100}", short):
            raise InputError(f"{place}: {short!r} would stand in ids; expected letters, digits, '_' and '.' only")
    return Row(row.name, candidates, row.channels, row.blocks, row.stride, row.residual, row.skip, row.scale)


def _expand(spec: OpKeys) -> Iterable[Op]:
    """Expand lists in an operator's arguments into their product, first argument outermost."""
    args = spec.model_extra or {}
    for values in itertools.product(*args.values()):
        yield Op(spec.op, tuple(zip(args, values, strict=True)))


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of `divisor`, never more than 10 % below `value`.

    Source: the rounding of MobileNet code, as the released ProxylessNAS search uses it.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
