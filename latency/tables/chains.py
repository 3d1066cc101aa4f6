"""What to measure for a table: which chains of layers and which whole networks, how often. Measures nothing.

A candidate's cost is measured in context: the chain of a typical layer before it and itself, less the chain before it.
An isolated block would pay for converting its input and output, which a network pays once. Between two calls as
much memory is read as a network has weights, because in a network a block never finds its own in the near caches.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from latency.graphs.model import Choice
from latency.measuring.job import Item
from latency.target import Target
from supernet.cost import LayerTrace, macs_table, params_table, trace
from supernet.space import Path, Space

NUM_CALIBRATION_NETWORKS = 16
CALIBRATION_SEED = 20190
"""Calibration networks are the same in every table of a space; verification draws from other seeds."""

HEAVINESS, HEAVINESS_SPREAD = (-1.0, 1.5), 0.2
"""Of the layers of a calibration network: the range at its two ends, and how far they lie about the line between. From
0 to 1 are the candidates in the order of their MACs; below is the lightest, above the heaviest."""

WEIGHT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Chains:
    """What to measure for one candidate: the chain that ends with it, and the chain before it.

    Attributes:
        layer: Its layer.
        op: Short name of the candidate.
        chain: A typical layer before it, then the candidate in every equal layer: what they have in common is
            measured once, and as often as a network may have it in a row.
        before: The chain without the candidate; empty at the first layer.
    """

    layer: str
    op: str
    chain: tuple[Choice, ...]
    before: tuple[Choice, ...]

    @property
    def num_layers(self) -> int:
        """How often the chain has the candidate."""
        return len(self.chain) - len(self.before)


def plan_chains(space: Space) -> list[Chains]:
    """Return the chains of every candidate of every layer, Zero excepted (it costs nothing).

    Layers with the same candidates, shapes, stride and shortcut, behind the same layer that cannot be skipped, are
    equal. Where there are several they may all be skipped, so their output fits the next one's input.
    """
    traces = trace(space)
    equal: dict[object, list[int]] = {}
    keys: list[object] = []
    prefixes: list[tuple[Choice, ...]] = []
    prefix: tuple[Choice, ...] = ()
    for index, layer in enumerate(space.layers):
        key = (
            *(layer.in_channels, layer.out_channels, layer.stride, layer.residual, layer.candidates),
            *(traces[index].in_shape, prefix),
        )
        equal.setdefault(key, []).append(index)
        keys.append(key)
        prefixes.append(prefix)
        if all(op.name != "zero" for op in layer.candidates):
            prefix = ((index, _typical(traces[index])),)
    return [
        Chains(layer.name, op.short, (*before, *((same, candidate) for same in equal[key])), before)
        for layer, key, before in zip(space.layers, keys, prefixes, strict=True)
        for candidate, op in enumerate(layer.candidates)
        if op.name != "zero"
    ]


def _typical(layer: LayerTrace) -> int:
    """Return the candidate in the middle by MACs: it leaves buffers of the size that a network has, in the caches."""
    order = sorted(range(len(layer.num_macs)), key=layer.num_macs.__getitem__)
    return order[len(order) // 2]


def calibration_paths(space: Space) -> list[Path]:
    """Return the smallest and the largest network by MACs, and some that go from light to heavy, or back, between.

    Uniform random networks would not do: they cost nearly alike, and have parameters in proportion to their cost. These
    are shallow and deep, and wide early (much cost, few parameters) or late. At most half of a small space is taken, so
    that some are left to verify with.
    """
    wanted = min(NUM_CALIBRATION_NETWORKS, max(2, space.num_architectures // 2))
    ranked = [sorted(range(len(row)), key=row.__getitem__) for row in macs_table(space).candidates]
    rng = random.Random(CALIBRATION_SEED)
    found = dict.fromkeys(tuple(order[end] for order in ranked) for end in (0, -1))
    for _ in range(10 * NUM_CALIBRATION_NETWORKS):
        if len(found) >= wanted:
            break
        first, last = rng.uniform(*HEAVINESS), rng.uniform(*HEAVINESS)
        path = []
        for index, order in enumerate(ranked):
            heaviness = rng.gauss(first + (last - first) * index / max(1, len(ranked) - 1), HEAVINESS_SPREAD)
            path.append(order[max(0, min(len(order) - 1, math.floor(heaviness * len(order))))])
        found[tuple(path)] = None
    return list(found)


def chain_key(chain: Sequence[Choice]) -> str:
    """Return the name of a chain in a job: `3.0-5.2` is candidate 0 of layer 3, then candidate 2 of layer 5."""
    return "-".join(f"{layer}.{candidate}" for layer, candidate in chain)


def network_bytes(space: Space, target: Target) -> int:
    """Return how much memory a typical network's weights take: the mean over uniformly drawn networks."""
    table = params_table(space)
    num_params = table.fixed + sum(sum(costs) / len(costs) for costs in table.candidates)
    return round(num_params) * WEIGHT_BYTES[target.precision]


def job_items(
    space: Space, target: Target, plans: Sequence[Chains], networks: Sequence[tuple[Choice, ...]]
) -> tuple[Item, ...]:
    """Return the distinct chains and networks.

    A short chain is visited twice for each visit of a network: it repeats worse and takes less time, and what it is off
    by goes into every row. One that many rows are measured against is visited four times.
    """
    befores = dict.fromkeys(plan.before for plan in plans if plan.before)
    chains = dict.fromkeys([plan.chain for plan in plans]) | befores | dict.fromkeys(networks)
    whole = set(networks)
    return tuple(
        Item(
            key=chain_key(chain),
            choices=chain,
            input_shape=trace(space)[chain[0][0]].in_shape,
            visits=4 if chain in befores else 1 if chain in whole else 2,
            whole=chain in whole,
            stream_bytes=0 if chain in whole or not target.traits.own_process else network_bytes(space, target),
        )
        for chain in chains
    )
