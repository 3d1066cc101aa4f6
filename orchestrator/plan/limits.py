"""The limits beside the budget, from what a user wrote to what a search keeps; what no network can keep is refused.

Why here: trials, forecast and gate must mean the same by them. It must not know how a search keeps a limit.
"""

from dataclasses import replace

import torch

from latency.graphs.size import file_table
from latency.target import Target
from orchestrator.plan.config import RunConfig
from orchestrator.plan.requirements import LimitsConfig
from supernet.cost import CostTable, macs_table, params_table
from supernet.errors import InputError
from supernet.knapsack import best_within_all
from supernet.limits import Limit, Limits
from supernet.peak import peaks
from supernet.presets import load_space
from supernet.space import Space

MIB = 2**20


def limits_of(run: RunConfig, space: Space, target: Target) -> Limits:
    """Return the limits of the trials of a target.

    Args:
        run: What the user wrote.
        space: With as many classes as the images have.
        target: Its delivered file is meant by `file_mib`.
    """
    return Limits(_sums(run, space, target), _forbidden(run.limits, space))


def _sums(run: RunConfig, space: Space, target: Target) -> tuple[Limit, ...]:
    config, found = run.limits, []
    if config.params is not None:
        found.append(Limit(params_table(space), config.params))
    if config.macs is not None:
        found.append(Limit(macs_table(space), config.macs))
    if config.file_mib is not None:
        onnx = target.traits.takes_onnx
        precision = target.precision if target.precision == "int8" or not onnx else "fp32"
        size = file_table(space, onnx=onnx, precision=precision, float_ends=run.deliver.int8.float_ends)
        found.append(Limit(replace(size.scaled(1 / MIB), name="file_mib", unit="MiB"), config.file_mib))
    return tuple(found)


def _forbidden(config: LimitsConfig, space: Space) -> tuple[tuple[int, int], ...]:
    if config.peak_memory_mib is None:
        return ()
    searched = [row for layer, row in zip(space.layers, peaks(space), strict=True) if layer.searched]
    most = config.peak_memory_mib * MIB
    return tuple((i, j) for i, row in enumerate(searched) for j, peak in enumerate(row) if peak > most)


def check_limits(config: RunConfig, place: str) -> None:
    """Refuse limits that no network of the space keeps.

    Raises:
        InputError: Naming the limit and the least that it could be; of several that only contradict each other, all.
    """
    if config.limits == LimitsConfig():
        return
    space, asked = load_space(config.space), config.limits
    if asked.peak_memory_mib is not None:
        rows = zip(space.layers, peaks(space), strict=True)
        name, peak = max(((layer.name, min(row)) for layer, row in rows), key=lambda pair: pair[1])
        if peak > asked.peak_memory_mib * MIB:
            raise InputError(
                f"{place}.limits.peak_memory_mib: {asked.peak_memory_mib:g}; {name} alone takes {peak / MIB:.4g}"
            )
    for target in config.load_targets():
        limits = limits_of(config, space, target)
        for limit in limits.sums:
            least = _allowed(limit.costs, limits).minimum
            if least > limit.most:
                raise InputError(
                    f"{place}.limits.{limit.costs.name}: {limit.most:g}; the smallest network of space {space.name!r} "
                    f"for {target.name} has {least:.6g}"
                )
        if limits.sums:
            sums = [(_allowed(limit.costs, limits), limit.most) for limit in limits.sums]
            try:
                best_within_all(torch.zeros_like(sums[0][0].matrix), sums)
            except InputError as error:
                raise InputError(f"{place}.limits, for {target.name}: {error}") from error


def _allowed(costs: CostTable, limits: Limits) -> CostTable:
    """Return a table without the forbidden candidates."""
    forbidden = set(limits.forbidden)
    rows = tuple(
        tuple(cost for j, cost in enumerate(row) if (i, j) not in forbidden) for i, row in enumerate(costs.candidates)
    )
    return replace(costs, candidates=rows)
