"""PyTorch through `torch.compile` (inductor) on the processor.

Compiling takes half a minute per block and needs a C++ compiler: offered, but no default of anything.
"""

import shutil
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from latency.precision import cast
from latency.runtimes.base import Host, Model, Program, host_environment, host_facts, host_program
from latency.target import Target

facts = host_facts


def missing(target: Target) -> str:
    """Say if there is no C++ compiler."""
    return "" if shutil.which("g++") or shutil.which("clang++") else "needs a C++ compiler (g++ or clang++)"


def environment(target: Target) -> Mapping[str, str]:
    """Keep freed memory in the process; compile in the process itself, which has few cores anyway."""
    return {**host_environment(target), "TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_FREEZING": "1"}


def prepare(model: Model, target: Target, host: Host) -> Program:
    """Compile by running once; time the compiled call."""
    module, x = cast(model.module(), torch.from_numpy(model.example), target.precision)
    compiled = torch.compile(module)

    def run(x: torch.Tensor = x) -> torch.Tensor:
        with torch.no_grad():
            y: torch.Tensor = compiled(x)
            return y

    def output(images: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = run(torch.empty_like(x).copy_(torch.from_numpy(images))).float().numpy()
        return result

    run()
    return host_program(run, output, host)
