"""Which runtimes exist and what they are like: name, file, traits. Plain data; imports none of them.

A further runtime is one file beside this one (see `base.Runtime`) and one line here. Nothing else asks for a runtime's
name: what must be done differently for some is a trait.
"""

from dataclasses import dataclass

from latency.runtimes.options import CommandOptions, CpuOptions, CudaOptions, Options, TorchOptions
from supernet.errors import InputError, nearest


@dataclass(frozen=True)
class Entry:
    """Where a runtime's code stands, what it offers, and how it is measured.

    Attributes:
        module: File in this package.
        precisions: Values of `Target.precision` it knows.
        needs: Installed distributions it needs, by the name that `importlib.metadata` knows.
        imports: What the measuring process imports before it forks a worker for each model.
        takes_onnx: Whether it runs ONNX graphs (else modules).
        extra: What to install when one is missing, as in `pip install 'onepath[openvino]'`; empty if core.
        device: Value of `Target.device` where none is given.
        devices: Regular expression of its allowed values.
        own_process: Whether each model is timed in a forked process of its own, by this machine's clock and beside its
            reference kernels; else all in one.
        external: Whether it is a program outside that times itself: it warms up alone and is started rarely.
        kernels: Whether its file has reference kernels of its own (`base.DeviceRuntime`).
        options: What a target may set.
        served_by: The package that runs its files where they are delivered.
    """

    module: str
    precisions: tuple[str, ...]
    needs: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    takes_onnx: bool = False
    extra: str = ""
    device: str = "cpu"
    devices: str = "cpu"
    own_process: bool = True
    external: bool = False
    kernels: bool = False
    options: type[Options] = CpuOptions
    served_by: str = "torch"


_ONNX = ("onnxruntime", "onnx")
_TORCH = ("torch", "torch._dynamo", "torch.export.pt2_archive")
"""Torch, and what takes it two seconds to import when it first loads or makes an export."""
_CUDA = Entry(
    "cuda",
    ("fp32", "fp16", "bf16"),
    ("torch",),
    device="cuda",
    devices=r"cuda(:\d{1,3})?",
    own_process=False,
    kernels=True,
    options=CudaOptions,
)

RUNTIMES: dict[str, Entry] = {
    "torch": Entry("torch_eager", ("fp32", "bf16"), ("torch",), imports=_TORCH, options=TorchOptions),
    "onnxruntime": Entry("ort", ("fp32", "int8"), _ONNX, imports=_ONNX, takes_onnx=True, served_by="onnxruntime"),
    "openvino": Entry(
        "ov",
        ("fp32", "bf16", "int8"),
        ("openvino", *_ONNX),
        imports=("openvino", *_ONNX),
        takes_onnx=True,
        extra="openvino",
        served_by="openvino",
    ),
    "torch-compile": Entry("torch_compiled", ("fp32", "bf16"), ("torch",), imports=_TORCH),
    "cuda": _CUDA,
    "cuda-graph": _CUDA,
    "command": Entry(
        "command",
        ("fp32", "int8"),
        _ONNX,
        takes_onnx=True,
        devices=".{1,100}",
        own_process=False,
        external=True,
        options=CommandOptions,
        served_by="onnxruntime",
    ),
}


def entry(name: str) -> Entry:
    """Return the entry of a runtime.

    Raises:
        InputError: If there is no such runtime.
    """
    if name not in RUNTIMES:
        raise InputError(f"unknown runtime {name!r}{nearest(name, RUNTIMES)}")
    return RUNTIMES[name]
