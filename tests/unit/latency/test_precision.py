"""Modules in another precision: what they take, give and compute in, and that a cast one is not cast again."""

import pytest
import torch
from torch import nn

from latency.precision import DTYPES, Inside, cast


class Seen(nn.Module):
    """Notes what it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.fed = nn.Linear(3, 2), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.fed.append(x.dtype)
        return self.layer(x)


@pytest.mark.parametrize("precision", DTYPES)
def test_a_module_computes_inside_in_its_precision(precision: str) -> None:
    seen = Seen()
    assert Inside(seen, precision)(torch.ones(1, 3)).dtype == torch.float32
    assert seen.fed == [DTYPES[precision]]


@pytest.mark.parametrize("precision", DTYPES)
def test_a_module_is_cast_with_its_images_and_a_delivered_one_takes_them_as_they_are(precision: str) -> None:
    module, x = cast(Seen(), torch.ones(1, 3), precision)
    assert x.dtype == module(x).dtype == DTYPES[precision]
    module, x = cast(Inside(Seen(), precision), torch.ones(1, 3), precision)
    assert x.dtype == module(x).dtype == torch.float32
