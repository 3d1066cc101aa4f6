"""Tables that were measured elsewhere and are packaged: looked up by operator and shapes, never filled in.

So a phone can be searched for without owning one. What the table lacks is an error that names the shapes.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from latency.tables.calibrate import Calibration
from latency.tables.table import LatencyTable, Row
from latency.target import Target
from supernet.cost import trace
from supernet.ops import BUILDERS
from supernet.presets import read_preset
from supernet.rows import Op
from supernet.space import Space

Key = tuple[Op, tuple[int, ...], tuple[int, ...], bool]
"""(operator as `_plain` says it, input shape, output shape, shortcut)."""


def published_table(space: Space, target: Target) -> LatencyTable:
    """Return the rows of a packaged table that a space needs, as far as it has them.

    Entries that it lacks are missing in the result: using them raises `MissingLatency`.
    """
    stored = _read(target)
    known = published_entries(stored)
    rows = []
    for traced in trace(space):
        layer = traced.layer
        for op in layer.candidates:
            key = (_plain(op), traced.in_shape, traced.out_shape, layer.residual)
            ms = 0.0 if op.name == "zero" else known.get(key)
            if ms is not None:
                rows.append(Row(layer.name, op.short, ms))
    return LatencyTable(
        space=space,
        target=target,
        rows=tuple(rows),
        calibration=Calibration(scale=1.0, rms=float(stored["rms"])),
        fingerprint={"published": target.options["table"]},
        sentinels={},
        info={"remedy": f"{target.name} is a published table of fixed shapes; measure a target of your own"},
    )


def published_entries(stored: Mapping[str, Any]) -> dict[Key, float]:
    """Return milliseconds by operator and shapes."""
    entries: dict[Key, float] = {}
    for block in stored["blocks"]:
        args = (("kernel_size", block["kernel_size"]),) if "kernel_size" in block else ()
        op = _plain(Op(block["op"], args))
        entries[op, tuple(block["input"]), tuple(block["output"]), block["shortcut"]] = block["ms"]
    for block in stored["mbconv"]:
        for name, ms in block.items():
            if name in ("input", "output", "shortcut"):
                continue
            kernel_size, expand_ratio = int(name[1]), int(name[3])
            op = _plain(Op("mbconv", (("kernel_size", kernel_size), ("expand_ratio", expand_ratio))))
            entries[op, tuple(block["input"]), tuple(block["output"]), block["shortcut"]] = ms
    return entries


def _plain(op: Op) -> Op:
    """Return an operator with its arguments in its builder's order, those at their defaults left out.

    Two are equal then that are written in another way and build the same.
    """
    given, parameters = dict(op.args), inspect.signature(BUILDERS[op.name]).parameters
    told = [name for name in parameters if name in given and given[name] != parameters[name].default]
    return Op(op.name, tuple((name, given[name]) for name in told))


def _read(target: Target) -> Mapping[str, Any]:
    stored: Mapping[str, Any] = read_preset("targets/tables", target.settings.table)[0]
    return stored
