"""The final network as an ONNX file with an open batch, and the check that it computes what the module computes.

Why here: what is deployed and what tables are measured on come from the same writer (`onnx_graph`).
"""

import copy
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import nn

from latency.graphs.model import example_input
from latency.graphs.onnx_graph import onnx_bytes
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
    path.write_bytes(onnx_bytes(copy.deepcopy(network).cpu().float().eval(), (1, *input_size), dynamic_batch=True))
    return path


def export_parity(network: nn.Module, path: FilePath | str, input_size: tuple[int, int, int]) -> float:
    """Return how far an exported file's outputs are from the network's: largest difference over largest output.

    Args:
        network: What was exported.
        path: The ONNX file; it is run by ONNX Runtime on batches of 1 and 3.
        input_size: (C, H, W).

    Raises:
        RunError: If the file does not run, or its outputs have another shape.
    """
    import onnxruntime

    reference = copy.deepcopy(network).cpu().float().eval()
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own classes
        raise RunError(f"{path}: ONNX Runtime cannot load the exported network: {error}") from error
    worst = 0.0
    for batch in (1, 3):
        x = example_input((batch, *input_size), seed=batch)
        with torch.inference_mode():
            wanted = reference(torch.from_numpy(x)).numpy()
        found = session.run(None, {session.get_inputs()[0].name: x})[0]
        if found.shape != wanted.shape:
            raise RunError(f"{path}: outputs {found.shape} for batch {batch}, the network gives {wanted.shape}")
        worst = max(worst, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    return worst
