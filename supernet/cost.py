"""What candidates cost: parameters, MACs, and the table form that every cost (latency too) takes.

Why here: objectives, derivation and tables speak of costs through `CostTable` and need not know whether it
holds milliseconds or MACs. Shapes and counts come from running the modules on the meta device: no formulas.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from supernet import ops
from supernet.errors import InputError
from supernet.network import build_network
from supernet.rows import ZERO, Layer, Op
from supernet.space import Architecture, Path, Space


def add_up(fixed: float, costs: Iterable[float]) -> float:
    """Add costs one by one, from the first position on: the same bits wherever a total is compared with a budget.

    `sum` compensates for rounding from Python 3.12 on, and array libraries add in an order of their own.
    """
    return reduce(add, costs, fixed)


@dataclass(frozen=True)
class CostTable:
    """What every candidate of a space costs on something, additive over positions.

    Attributes:
        name: What is counted, for instance `ort-cpu-1t`, `params`, `macs`.
        unit: `ms`, `1` or another unit.
        fixed: Cost of the layers without a choice, and anything constant.
        candidates: One tuple per position, one cost per candidate.
        error: Relative error of a total, as far as the table knows itself (root mean square); 0 for a count.
    """

    name: str
    unit: str
    fixed: float
    candidates: tuple[tuple[float, ...], ...]
    error: float = 0.0

    def total(self, path: Path) -> float:
        """Return the cost of a path."""
        return add_up(self.fixed, (costs[index] for costs, index in zip(self.candidates, path, strict=True)))

    def told(self, cost: float) -> str:
        """Return a cost as messages have it: a count to the last digit, everything else with its unit."""
        return f"{cost:,.0f}" if self.unit == "1" else f"{cost:.4g} {self.unit}"

    def scaled(self, factor: float) -> "CostTable":
        """Return the table with all costs multiplied."""
        rows = tuple(tuple(factor * cost for cost in costs) for costs in self.candidates)
        return replace(self, fixed=factor * self.fixed, candidates=rows)

    @cached_property
    def matrix(self) -> Tensor:
        """Costs as a tensor, shape (num_positions, max_candidates), float64, zero past the last candidate."""
        width = max(map(len, self.candidates), default=1)
        rows = [[*costs, *[0.0] * (width - len(costs))] for costs in self.candidates]
        return torch.tensor(rows, dtype=torch.float64).view(-1, width)

    def expected(self, probs: Tensor) -> Tensor:
        """Return the expected cost of a distribution over paths, differentiable with respect to `probs`.

        Args:
            probs: Shape (num_positions, max_candidates), rows summing to 1, zero past the last candidate.

        Returns:
            Scalar float64 tensor in this table's unit.

        Source: Cai et al. 2019, section 3.3, eq. 2.
        """
        return self.fixed + (probs * self.matrix).sum()

    @property
    def minimum(self) -> float:
        """Cost of the cheapest architecture."""
        return add_up(self.fixed, map(min, self.candidates))

    @property
    def maximum(self) -> float:
        """Cost of the most expensive architecture."""
        return add_up(self.fixed, map(max, self.candidates))


@dataclass(frozen=True)
class LayerTrace:
    """Shapes of one layer and counts of its candidates, found by running them.

    Attributes:
        layer: The layer of the space.
        in_shape: (C, H, W) of its input.
        out_shape: (C, H, W) of its output; (num_classes,) after the classifier.
        num_params: One count per candidate.
        num_macs: One count per candidate: multiply-accumulates of convolutions and linear layers, batch 1.
    """

    layer: Layer
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    num_params: tuple[int, ...]
    num_macs: tuple[int, ...]


@lru_cache(maxsize=64)
def trace(space: Space) -> tuple[LayerTrace, ...]:
    """Run every candidate of every layer on the meta device.

    Raises:
        InputError: If a candidate does not run on its layer's input or breaks the shape that the others
            give, naming the space, the layer and the candidate.
    """
    ops.load_operators(space.operators)
    shape: tuple[int, ...] = space.input_size
    traces = []
    known: dict[tuple[Layer, Op, tuple[int, ...]], tuple[tuple[int, ...], int, int]] = {}
    for layer in space.layers:
        results = []
        for op in layer.candidates:
            key = (layer.bare, op, shape)
            if key not in known:
                known[key] = _run_candidate(space, layer, op, shape)
            results.append(known[key])
        out_shape = results[0][0]
        for op, (other, _, _) in zip(layer.candidates, results, strict=True):
            if other != out_shape:
                raise InputError(
                    f"space {space.name!r}, {layer.name}: candidate {op.short} gives shape {other} from {shape}, "
                    f"but {layer.candidates[0].short} gives {out_shape}; candidates of a layer must agree"
                )
        if layer.residual and out_shape != shape:
            raise InputError(
                f"space {space.name!r}, {layer.name}: shape {out_shape} does not fit the shortcut from {shape}"
            )
        counts = [(params, macs) for _, params, macs in results]
        traces.append(LayerTrace(layer, shape, out_shape, *map(tuple, zip(*counts, strict=True))))
        shape = out_shape
    if shape != (space.num_classes,):
        raise InputError(
            f"space {space.name!r}: the last row gives shape {shape}, expected ({space.num_classes},); "
            f"end the rows with 'op: classifier'"
        )
    return tuple(traces)


def _run_candidate(space: Space, layer: Layer, op: Op, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """Return output shape, parameters and MACs of one candidate on one input shape."""
    try:
        with torch.device("meta"):
            module = ops.build(op, layer).eval()
        out, num_macs = _count_macs(module, shape)
    except InputError:
        raise
    except Exception as error:  # operators are anybody's code and raise anything
        raise InputError(
            f"space {space.name!r}, {layer.name}: candidate {op.short} cannot be built and run on input {shape}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tuple(out.shape[1:]), sum(p.numel() for p in module.parameters()), num_macs


def _count_macs(module: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, int]:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        out: Tensor = module(torch.empty((1, *shape), device="meta"))
    return out, counter.get_total_flops() // 2


def count_cost(space: Space, architecture: Architecture) -> dict[str, Any]:
    """Count one standalone network.

    Returns:
        `num_params`, `num_macs` (batch 1) and `output_shape`.
    """
    with torch.device("meta"):
        network = build_network(space, architecture).eval()
    out, num_macs = _count_macs(network, space.input_size)
    num_params = sum(p.numel() for p in network.parameters())
    return {"num_params": num_params, "num_macs": num_macs, "output_shape": list(out.shape)}


@dataclass(frozen=True)
class BlockCost:
    """One layer of an architecture with its shapes and counts; a dropped block is not among them.

    Attributes:
        name: Name of the layer in its space.
        op: The operator that stands there.
        in_shape: (C, H, W) of its input.
        out_shape: (C, H, W) of its output; (num_classes,) of the classifier.
        num_macs: Multiply-accumulates of convolutions and linear layers, batch 1.
    """

    name: str
    op: Op
    stride: int
    residual: bool
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    num_params: int
    num_macs: int


def block_costs(space: Space, architecture: Architecture) -> tuple[BlockCost, ...]:
    """Return the blocks of an architecture in order, each with its cost; their sums are the network's."""
    blocks = []
    for t, (_, index) in zip(trace(space), space.along(space.path(architecture), 0), strict=True):
        op, counts = t.layer.candidates[index], (t.num_params[index], t.num_macs[index])
        if op != ZERO:
            blocks.append(
                BlockCost(t.layer.name, op, t.layer.stride, t.layer.residual, t.in_shape, t.out_shape, *counts)
            )
    return tuple(blocks)


def params_table(space: Space) -> CostTable:
    """Return the parameters of every candidate as a cost table."""
    return _table(space, "params", "1", [t.num_params for t in trace(space)])


def macs_table(space: Space) -> CostTable:
    """Return the multiply-accumulates of every candidate (batch 1) as a cost table."""
    return _table(space, "macs", "1", [t.num_macs for t in trace(space)])


def counted_table(space: Space, name: str, unit: str, count: Callable[[nn.Module], float]) -> CostTable:
    """Return what a function counts on the module of every candidate, built on the meta device, as a cost table."""
    known: dict[tuple[Layer, Op], float] = {}
    rows = []
    for layer in space.layers:
        row = []
        for op in layer.candidates:
            key = (layer.bare, op)
            if key not in known:
                with torch.device("meta"):
                    known[key] = float(count(ops.build(op, layer)))
            row.append(known[key])
        rows.append(row)
    return _table(space, name, unit, rows)


def _table(space: Space, name: str, unit: str, counts: Iterable[Sequence[float]]) -> CostTable:
    pairs = list(zip(space.layers, counts, strict=True))
    fixed = sum(values[0] for layer, values in pairs if not layer.searched)
    return CostTable(name, unit, float(fixed), tuple(tuple(map(float, v)) for layer, v in pairs if layer.searched))
