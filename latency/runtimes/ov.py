"""OpenVINO on the processor, at fp32, bf16 or int8. Its library is imported when something is prepared."""

import numpy as np
from numpy.typing import NDArray

from latency.runtimes.base import Host, Model, Program, host_environment, host_facts, host_program
from latency.target import Target

facts, environment = host_facts, host_environment

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def missing(target: Target) -> str:
    """Say if the processor lacks the precision: OpenVINO would then run fp32 without a word."""
    if target.precision != "bf16":
        return ""
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "" if "BF16" in able else f"this processor has no bf16 (OpenVINO sees {', '.join(able)})"


def prepare(model: Model, target: Target, host: Host) -> Program:
    """Time one synchronous inference request, input and output in host memory."""
    import openvino

    graph = model.int8() if target.precision == "int8" else model.onnx()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(graph),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": target.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[target.precision],
            "ENABLE_CPU_PINNING": False,  # the measuring process chooses its cores itself
        },
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(model.example.copy()))

    def output(images: NDArray[np.float32]) -> NDArray[np.float32]:
        request.get_input_tensor().data[:] = images
        request.infer()
        result: NDArray[np.float32] = np.array(request.get_output_tensor().data, dtype=np.float32)
        return result

    return host_program(request.infer, output, host)
