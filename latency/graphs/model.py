"""What is measured, a module or a file, in the forms that runtimes ask for.

Why here: a measuring process rebuilds its models from plain data and files. Nothing is unpickled: `archive` looks into
torch exports first.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from latency.graphs.archive import load_program
from latency.graphs.batch import fixed_batch, inputs_of, require_batch
from latency.graphs.onnx_graph import onnx_bytes
from latency.graphs.quantise import DEFAULT, Quantisation, quantise
from latency.precision import DTYPES
from latency.target import Target
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.plain import to_json

Choice = tuple[int, int]
"""(layer index, candidate index) of a space."""


@dataclass(frozen=True)
class ModelForms:
    """A model in the forms of `runtimes.base.Model`, each made when asked for.

    Attributes:
        example: Example input, shape (N, C, H, W).
        make_module: Makes the module, in eval mode.
        make_onnx: Makes the ONNX graph.
        make_images: Makes images to calibrate quantisation with, shape (M, C, H, W).
        precision: Of its weights: `fp32` but for files and exports in another one; `mixed precision` if several.
        cache: Folder to keep quantised graphs in: quantising takes seconds.
        quantisation: How it becomes int8.
    """

    example: NDArray[np.float32]
    make_module: Callable[[], nn.Module]
    make_onnx: Callable[[], bytes]
    make_images: Callable[[], NDArray[np.float32]]
    precision: str = "fp32"
    cache: FilePath | None = None
    quantisation: Quantisation = DEFAULT

    def module(self) -> nn.Module:
        """Return it as a module in eval mode."""
        return self.make_module()

    def onnx(self) -> bytes:
        """Return it as a serialised ONNX model with a fixed batch."""
        return self.make_onnx()

    def int8(self) -> bytes:
        """Return it as an int8 ONNX model, made once if there is a folder to keep it in."""
        if self.precision == "int8":
            return self.onnx()
        serialised, images = self.onnx(), self.make_images()
        if self.cache is None:
            return quantise(serialised, images, self.quantisation)
        name = hashlib.sha256(serialised + images.tobytes() + to_json(self.quantisation).encode()).hexdigest()[:24]
        file = self.cache / f"int8-{name}.onnx"
        if not file.is_file():
            write_whole(file, quantise(serialised, images, self.quantisation))
        return file.read_bytes()


def example_input(shape: Sequence[int], seed: int = 0) -> NDArray[np.float32]:
    """Return standard normal numbers: zeros would run faster on some devices."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def module_forms(
    module: nn.Module, input_shape: tuple[int, ...], images: NDArray[np.float32] | None = None
) -> ModelForms:
    """Return the forms of a module: it is put in eval mode.

    Args:
        module: One tensor in, one out.
        input_shape: (N, C, H, W).
        images: To calibrate quantisation with; random numbers if None, which is enough for timing.
    """
    module.eval()
    return ModelForms(
        example=example_input(input_shape),
        make_module=lambda: module,
        make_onnx=lambda: onnx_bytes(module, input_shape),
        make_images=lambda: example_input((4, *input_shape[1:]), seed=1) if images is None else images,
    )


def file_forms(file: FilePath, batch: int, images: NDArray[np.float32] | None = None) -> ModelForms:
    """Return the forms of an ONNX file, or of a torch export (`.pt2`).

    Raises:
        InputError: If it is neither, does not read, takes another number of images, or has open dimensions beside it.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    if file.suffix == ".onnx":
        return _onnx_forms(file, batch, images)
    if file.suffix == ".pt2":
        return program_forms(load_program(file), file.name, batch, images)
    raise InputError(f"{file}: unknown kind of model; give .onnx, .pt2, an architecture file or a network's name")


def require_precision(forms: ModelForms, target: Target, place: str) -> None:
    """Refuse a model that a target would not run in its precision.

    One in fp32 becomes what the target runs. Graphs are taken in fp32 or int8: a runtime of bf16 makes it of fp32.

    Args:
        forms: The model.
        target: That is to run it.
        place: For messages.

    Raises:
        InputError: If it is in another precision.
    """
    found, precision = forms.precision, target.precision
    taken = ("fp32", "int8") if target.traits.takes_onnx else DTYPES
    if found != "fp32" and (found != precision or found not in taken):
        raise InputError(
            f"{place}: in {found}, and target {target.name} runs {precision}; give it in fp32, or name a target that "
            f"runs {found} files"
        )


def program_forms(
    program: torch.export.ExportedProgram, name: str, batch: int, images: NDArray[np.float32] | None = None
) -> ModelForms:
    """Return the forms of a torch export with one input.

    Args:
        program: As exported, or loaded.
        name: For messages.
        batch: Images at once.
        images: To calibrate quantisation with.

    Raises:
        InputError: If it takes another number of images, or has open dimensions beside it.
    """
    (input_name,) = program.graph_signature.user_inputs  # the archive was checked for it
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == input_name)
    dims = list(value.shape)
    if len(dims) != 4 or not all(isinstance(dim, int) for dim in dims[1:]):
        raise InputError(f"{name}: input shape {dims}; expected (N, C, H, W) with only N open")
    if isinstance(dims[0], int):
        require_batch(dims[0], batch, name)
    forms = module_forms(nn.Identity(), (batch, *dims[1:]), images)

    def onnx() -> bytes:
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
        assert exported is not None
        return fixed_batch(exported.model_proto.SerializeToString(), batch, name)

    kept = {weight.dtype for weight in program.state_dict.values() if weight.is_floating_point()}
    precision = next((name for name, dtype in DTYPES.items() if kept <= {dtype}), "mixed precision")
    return ModelForms(forms.example, program.module, onnx, forms.make_images, precision)


def _onnx_forms(file: FilePath, batch: int, images: NDArray[np.float32] | None) -> ModelForms:
    import onnx

    try:
        model = onnx.load(str(file))
    except Exception as error:  # protobuf raises its own classes
        raise InputError(f"{file}: not an ONNX model: {error}") from error
    if not inputs_of(model.graph) or not model.graph.output:
        raise InputError(f"{file}: not a whole ONNX model: its graph has no input or no output; export it again")
    dims = [dim.dim_value for dim in inputs_of(model.graph)[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or not all(dims[1:]):
        raise InputError(f"{file}: input shape {dims}; expected (N, C, H, W) with only N open")
    shape = (batch, *dims[1:])
    serialised = fixed_batch(model.SerializeToString(), batch, str(file))

    def module() -> nn.Module:
        raise InputError(f"{file}: an ONNX file cannot run on a torch target; give a network's name or a .pt2 file")

    forms = module_forms(nn.Identity(), shape, images)
    precision = "int8" if any(node.op_type == "QuantizeLinear" for node in model.graph.node) else "fp32"
    return ModelForms(forms.example, module, lambda: serialised, forms.make_images, precision)
