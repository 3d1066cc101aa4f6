"""PyTorch as is: the module is called, nothing is compiled or fused."""

import numpy as np
import torch
from numpy.typing import NDArray

from latency.precision import cast
from latency.runtimes.base import Host, Model, Program, host_environment, host_facts, host_program
from latency.target import Target

facts, environment = host_facts, host_environment


def missing(target: Target) -> str:
    """Nothing beyond torch is needed."""
    return ""


def prepare(model: Model, target: Target, host: Host) -> Program:
    """Time `module(x)` in inference mode."""
    module, x = cast(model.module(), torch.from_numpy(model.example), target.precision)
    if target.settings.channels_last:
        module, x = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)

    def run(x: torch.Tensor = x) -> torch.Tensor:
        with torch.inference_mode():
            y: torch.Tensor = module(x)
            return y

    def output(images: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = run(torch.empty_like(x).copy_(torch.from_numpy(images))).float().numpy()
        return result

    return host_program(run, output, host)
