"""Modules in another precision than fp32: what runs one, and what is delivered of it. Knows no runtime and no file.

Why on the ground floor: the exporter and the torch runtimes must do the same, so that a file is timed as it is used.
"""

import torch
from torch import Tensor, nn

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Inside(nn.Module):
    """A module whose weights and whose computation are in a precision; it takes and gives fp32."""

    def __init__(self, module: nn.Module, precision: str) -> None:
        super().__init__()
        self.dtype = DTYPES[precision]
        self.module = module.to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map fp32 (N, C, H, W) to fp32 (N, num_classes)."""
        y: Tensor = self.module(x.to(self.dtype))
        return y.float()


def cast(module: nn.Module, x: Tensor, precision: str) -> tuple[nn.Module, Tensor]:
    """Return a module in a precision, with its example as it is fed.

    One that is in it already, such as a delivered file, takes what it was made to take: its own conversion is part
    of its time.
    """
    dtype = DTYPES[precision]
    kept = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}
    return module.to(dtype), x if kept == {dtype} else x.to(dtype)
