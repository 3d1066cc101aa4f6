"""How large a network's file is, before it is written: at most so many bytes, as a sum over its blocks.

Why here: what a form and a precision cost is known where files are made. It must not know limits.
"""

from collections.abc import Iterable
from math import prod

import torch
from torch import nn

from supernet import ops
from supernet.cost import CostTable, counted_table
from supernet.rows import Layer
from supernet.space import Space

# Bounds, seen on networks of 4 to 53 convolutions in three spaces (exports of torch 2.11, ONNX opset 18), per
# convolution or linear layer: nodes and names, at int8 those around it too, in a torch export its serialised graph.
ONNX_LAYER, INT8_LAYER, PROGRAM_LAYER = 500, 1500, 10_600
INT8_CHANNEL = 12
"""Bytes for each number of batch norm and bias: what they become is int32, and every channel has a scale of its own."""

HEAD, CLASS = 4000, 64
"""Bytes of a file's own description, and of a class's name in it."""

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


def file_table(space: Space, *, onnx: bool, precision: str, float_ends: bool = False) -> CostTable:
    """Return the most bytes of every candidate in a network's file, and of what every file holds in the fixed cost.

    Weights take the bytes of the precision; an ONNX file has batch norm folded into them. A torch export keeps batch
    norm with its statistics, and two example images. On networks of a few thousand parameters the bound is up to a
    third above what is written, from some hundred thousand on a few per cent.

    Args:
        space: With as many classes as the images have.
        onnx: Whether it is an ONNX file, or a torch export.
        precision: That the file is kept in.
        float_ends: Whether the first and the last layer of an int8 file stay in fp32.
    """

    def size(module: nn.Module) -> float:
        weights = _weights(module)
        rest = sum(p.numel() for p in module.parameters() if p.dim() <= 1)
        if not onnx:
            return BYTES[precision] * (sum(weights) + 2 * rest) + PROGRAM_LAYER * len(weights)
        if precision == "int8":
            return sum(weights) + INT8_CHANNEL * rest + INT8_LAYER * len(weights)
        return 4 * (sum(weights) + rest) + ONNX_LAYER * len(weights)

    head = HEAD + CLASS * space.num_classes + (0 if onnx else 2 * 4 * prod(space.input_size))
    if precision == "int8" and float_ends:
        head += (BYTES["fp32"] - 1) * (_most_weights(space.layers) + _most_weights(reversed(space.layers)))
    table = counted_table(space, "file", "bytes", size)
    return CostTable(table.name, table.unit, table.fixed + head, table.candidates)


def _weights(module: nn.Module) -> list[int]:
    """Return how many weights each convolution or linear layer has."""
    return [p.numel() for p in module.parameters() if p.dim() > 1]


def _most_weights(layers: Iterable[Layer]) -> int:
    """Return the most weights of what comes first among layers: those that a path may skip are followed by others."""
    most = 0
    for layer in layers:
        with torch.device("meta"):
            counts = [sum(_weights(ops.build(op, layer))) for op in layer.candidates]
        most = max(most, *counts)
        if min(counts) > 0:
            break
    return most
