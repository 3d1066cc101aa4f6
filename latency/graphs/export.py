"""The final network as files: ONNX and torch export, both with an open batch, and the check of what they compute.

Why here: what is deployed and what tables are measured on come from the same writer (`onnx_graph`).
"""

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from latency.graphs.archive import load_program
from latency.graphs.batch import full_batches, inputs_of
from latency.graphs.model import example_input
from latency.graphs.onnx_graph import onnx_bytes
from latency.precision import Inside
from supernet.errors import RunError


def export_onnx(network: nn.Module, input_size: tuple[int, int, int], path: FilePath | str) -> FilePath:
    """Write a network as ONNX: input `input` (batch, C, H, W), output `logits` (batch, num_classes), fp32.

    Args:
        network: In any mode and on any device; it is left as it is.
        input_size: (C, H, W).
        path: File to write.
    """
    path = FilePath(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(onnx_bytes(_standalone(network), (1, *input_size), dynamic_batch=True))
    return path


def with_metadata(serialised: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return an ONNX model with texts that travel in it (`session.get_modelmeta().custom_metadata_map`)."""
    import onnx

    model = onnx.load_from_string(serialised)
    onnx.helper.set_model_props(model, dict(metadata))
    described: bytes = model.SerializeToString()
    return described


def with_pixels(serialised: bytes, mean: Sequence[float], std: Sequence[float]) -> bytes:
    """Return an ONNX model that takes 8-bit pixels instead: input `pixels`, uint8, (batch, H, W, C).

    Args:
        serialised: A model of normalised fp32 images, (batch, C, H, W).
        mean: Of each channel, in 0..1.
        std: Of each channel.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(serialised)
    old = inputs_of(model.graph)[0]
    batch, channels, height, width = old.type.tensor_type.shape.dim
    shape = [dim.dim_param or dim.dim_value for dim in (batch, height, width, channels)]
    columns = [np.asarray(values, np.float64).reshape(1, -1, 1, 1) for values in (mean, std)]
    scale, offset = (1 / (255 * columns[1])).astype(np.float32), (-columns[0] / columns[1]).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["pixels.first"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["pixels.first"], ["pixels.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels.float", "pixels.scale"], ["pixels.scaled"]),
        helper.make_node("Add", ["pixels.scaled", "pixels.offset"], [old.name]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    named = {"pixels.scale": scale, "pixels.offset": offset}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in named.items())
    old.CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape))
    onnx.checker.check_model(model)
    changed: bytes = model.SerializeToString()
    return changed


def export_program(network: nn.Module, input_size: tuple[int, int, int], precision: str = "fp32") -> bytes:
    """Return a network as a torch export (`.pt2`): the same network gives the same bytes.

    Args: as `exported`.
    """
    buffer = io.BytesIO()
    torch.export.save(exported(network, input_size, precision), buffer)
    return buffer.getvalue()


def exported(network: nn.Module, input_size: tuple[int, ...], precision: str = "fp32") -> torch.export.ExportedProgram:
    """Return a network as torch exports it, with an open batch: it runs as the saved file does.

    Its tensors lie side by side in one module: fetched through the nested modules of the original, as torch exports
    them, they cost a third of the time of a small network.

    Args:
        network: In any mode and on any device; it is left as it is.
        input_size: (C, H, W).
        precision: One of `latency.precision.DTYPES`, of its weights and of what it computes; it takes and gives fp32.
    """
    standalone = _standalone(network)
    if precision != "fp32":
        standalone = Inside(standalone, precision)
    # Two images, because torch takes a batch of one for a constant.
    images, batch = torch.zeros(2, *input_size), torch.export.Dim.DYNAMIC
    program = torch.export.export(standalone, (images,), dynamic_shapes=({0: batch},))
    flat = {name: name.replace(".", "_") for name in program.state_dict}
    if len(set(flat.values())) == len(flat):
        for spec in program.graph_signature.input_specs:
            spec.target = flat.get(spec.target or "", spec.target)
        for name, new in flat.items():
            program.state_dict[new] = program.state_dict.pop(name)
    for node in list(program.graph.nodes):
        node.meta.pop("stack_trace", None)  # where the sources lie on this machine
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)  # it binds a conversion to the device of the export
    return program


def export_parity(network: nn.Module, path: FilePath | str, input_size: tuple[int, int, int]) -> float:
    """Return how far an exported file's outputs are from the network's: largest difference over largest output.

    Not a number where an output is none.

    Args:
        network: What was exported.
        path: The ONNX file, which ONNX Runtime runs, or torch export; on 1 and on 3 images, in batches of its own size
            where that is fixed.
        input_size: (C, H, W).

    Raises:
        RunError: If the file does not run, or its outputs have another shape.
    """
    reference, run, differences = _standalone(network), _runner(FilePath(path)), []
    for batch in (1, 3):
        x = example_input((batch, *input_size), seed=batch)
        with torch.inference_mode():
            wanted = reference(torch.from_numpy(x)).numpy()
        found = run(x)
        if found.shape != wanted.shape:
            raise RunError(f"{path}: outputs {found.shape} for batch {batch}, the network gives {wanted.shape}")
        differences.append(np.abs(found - wanted).max() / np.abs(wanted).max())
    return float(np.max(differences))


def _runner(path: FilePath) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return what runs an exported file."""
    if path.suffix == ".pt2":
        module = load_program(path).module()

        def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                y: NDArray[np.float32] = module(torch.from_numpy(x)).numpy()
                return y

        return run
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own classes
        raise RunError(f"{path}: ONNX Runtime cannot load the exported network: {error}") from error
    (taken,) = session.get_inputs()
    size = taken.shape[0] if isinstance(taken.shape[0], int) else None

    def run_graph(x: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [session.run(None, {taken.name: part})[0] for part in full_batches(x, size or len(x))]
        return np.concatenate(parts)[: len(x)]

    return run_graph


def _standalone(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().float().eval()
