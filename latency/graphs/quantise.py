"""Static int8 quantisation of an ONNX graph: quantise and dequantise nodes, ranges from calibration images.

Why here: every int8 runtime is fed by the same graph, so their outputs and their files agree. Activations
are quantised per tensor. `onnxruntime` is imported when needed.
"""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from latency.graphs.batch import full_batches, inputs_of
from supernet.plain import STRICT, Count, Flag

OPEN_BATCH = 16
"""Images at once through a graph with an open batch."""


@dataclass(frozen=True, config=STRICT)
class Quantisation:
    """How a network becomes int8.

    Attributes:
        num_images: Training images that the ranges of activations are taken from. All their activations are in memory
            at once, except for `minmax`.
        ranges: `minmax` takes all that was seen; `percentile` cuts off the rarest 0.001 %; `entropy` takes the range
            that loses least information.
        per_channel: Whether each output channel of a layer's weights has a scale of its own; else one for all.
        float_ends: Whether the first and the last layer stay in fp32: they see raw pixels and give the answer.
    """

    num_images: Annotated[Count, Field(le=100_000)] = 128
    ranges: Literal["minmax", "percentile", "entropy"] = "minmax"
    per_channel: Flag = True
    float_ends: Flag = False


DEFAULT = Quantisation()
METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that hold weights."""


def quantise(serialised: bytes, images: NDArray[np.float32], settings: Quantisation = DEFAULT) -> bytes:
    """Return an fp32 ONNX model as an int8 one (QDQ form).

    Args:
        serialised: The fp32 model; batch norm must be folded, as `onnx_graph` does.
        images: Calibration images, shape (M, C, H, W), normalised as in training. Random numbers are enough to
            measure time, not to judge accuracy.
        settings: How; all images are used, whatever their number.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = onnx.load_from_string(serialised)
    taken = inputs_of(model.graph)[0]
    name, batch = taken.name, taken.type.tensor_type.shape.dim[0].dim_value or OPEN_BATCH

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the images in batches of the model's size."""

        def __init__(self) -> None:
            self.batches = full_batches(images, batch)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            images = next(self.batches, None)
            return None if images is None else {name: images}

    with tempfile.TemporaryDirectory(prefix="onepath-int8-") as folder, _silence():
        file = FilePath(folder) / "int8.onnx"
        quantize_static(
            model,
            str(file),
            Batches(),
            quant_format=QuantFormat.QDQ,
            per_channel=settings.per_channel,
            nodes_to_exclude=_ends(model.graph) if settings.float_ends else [],
            calibrate_method=CalibrationMethod[METHODS[settings.ranges]],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return file.read_bytes()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the quantiser from advising, through the root logger, and from printing of its histograms."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _ends(graph: Any) -> list[str]:
    """Return the names of the first and the last layer with weights."""
    names = [node.name for node in graph.node if node.op_type in LAYERS]
    return [*names[:1], *names[-1:]]
