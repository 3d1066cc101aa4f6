"""Which runtimes exist: name, file, precisions, the extra that brings them. Imports none of them.

A further runtime is one file beside this one (see `base.Runtime`) and one line here.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from supernet.errors import InputError, nearest

if TYPE_CHECKING:  # it speaks of targets, which speak of the names here
    from latency.runtimes.base import Runtime


@dataclass(frozen=True)
class Entry:
    """Where a runtime's code stands and what it offers.

    Attributes:
        module: File in this package.
        precisions: Values of `Target.precision` it knows.
        needs: Installed distributions it needs, by the name that `importlib.metadata` knows.
        imports: What the measuring process imports before it forks a worker for each model.
        takes_onnx: Whether it runs ONNX graphs (else modules).
        extra: What to install when one is missing, as in `pip install 'onepath[openvino]'`; empty if core.
    """

    module: str
    precisions: tuple[str, ...]
    needs: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    takes_onnx: bool = False
    extra: str = ""


_ONNX = ("onnxruntime", "onnx")

RUNTIMES: dict[str, Entry] = {
    "torch": Entry("torch_eager", ("fp32", "bf16"), ("torch",), imports=("torch",)),
    "onnxruntime": Entry("ort", ("fp32", "int8"), _ONNX, imports=_ONNX, takes_onnx=True),
    "openvino": Entry(
        "ov",
        ("fp32", "bf16", "int8"),
        ("openvino", *_ONNX),
        imports=("openvino", *_ONNX),
        takes_onnx=True,
        extra="openvino",
    ),
    "torch-compile": Entry("torch_compiled", ("fp32", "bf16"), ("torch",), imports=("torch",)),
    "cuda": Entry("cuda", ("fp32", "fp16", "bf16"), ("torch",)),
    "cuda-graph": Entry("cuda", ("fp32", "fp16", "bf16"), ("torch",)),
    "command": Entry("command", ("fp32", "int8"), _ONNX, takes_onnx=True),
}


def entry(name: str) -> Entry:
    """Return the entry of a runtime.

    Raises:
        InputError: If there is no such runtime.
    """
    if name not in RUNTIMES:
        raise InputError(f"unknown runtime {name!r}{nearest(name, RUNTIMES)}")
    return RUNTIMES[name]


def load_runtime(name: str) -> "Runtime":
    """Import a runtime's file (which imports its library only when it prepares something)."""
    return cast("Runtime", importlib.import_module(f"latency.runtimes.{entry(name).module}"))
