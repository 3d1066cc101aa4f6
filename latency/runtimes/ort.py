"""ONNX Runtime on the processor, at fp32 or int8. Its library is imported when something is prepared."""

import numpy as np
from numpy.typing import NDArray

from latency.runtimes.base import Host, Model, Program, host_environment, host_facts, host_program
from latency.target import Target

facts, environment = host_facts, host_environment


def missing(target: Target) -> str:
    """Nothing beyond the packages is needed."""
    return ""


def prepare(model: Model, target: Target, host: Host) -> Program:
    """Time one session run, input and output in host memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    graph = model.int8() if target.precision == "int8" else model.onnx()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name, names = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    feed = {name: model.example}

    def output(images: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = session.run(names, {name: images})[0]
        return result

    return host_program(lambda: session.run(names, feed), output, host)
