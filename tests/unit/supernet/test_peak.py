"""Peak memory against counts by hand, of the package's operators and of anybody's."""

import pytest
import torch
from torch import Tensor, nn

from supernet.peak import network_peak, peak_bytes, peaks
from supernet.presets import load_network, load_space
from supernet.rows import ZERO


def meta(module: nn.Module) -> nn.Module:
    return module.to("meta").eval()


def conv_bn(inputs: int, outputs: int, **more: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, **more), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class Branches(nn.Module):
    """Its first branch waits for its second one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate both."""
        return torch.cat([self.first(x).relu(), self.second(x).sigmoid()], 1)


@pytest.mark.parametrize(
    ("module", "residual", "floats"),
    [
        (conv_bn(4, 12), False, (4 + 12) * 64),  # batch norm and activation write over the convolution's output
        (nn.Sequential(conv_bn(4, 12), conv_bn(12, 12, groups=12), conv_bn(12, 4)), False, (12 + 12) * 64),
        (nn.Sequential(conv_bn(4, 12), conv_bn(12, 12, groups=12), conv_bn(12, 4)), True, (4 + 12 + 12) * 64),
        (nn.Sequential(conv_bn(4, 12), conv_bn(12, 4, stride=2)), False, (4 + 12) * 64),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), False, 4 * 64),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), True, (4 + 4) * 64),  # the shortcut reads the input last
        (Branches(), False, (8 + 16 + 24) * 64),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000)), False, 4 + 1000),
        (nn.Identity(), False, 4 * 64),
    ],
)
def test_a_block_takes_what_is_counted_by_hand(module: nn.Module, residual: bool, floats: int) -> None:
    assert peak_bytes(meta(module), (4, 8, 8), residual=residual) == 4 * floats


def test_a_networks_peak_is_that_of_its_highest_block() -> None:
    """Checked against what ONNX Runtime allocates, see docs/search.md: 3.1, 5.8 and 8.7 MiB."""
    for name, mib in (("proxyless-mobile", 3.0625), ("mobilenet-v2", 5.7422), ("proxyless-cpu", 8.6133)):
        space, architecture = load_network(name)
        assert network_peak(space, space.path(architecture)) / 2**20 == pytest.approx(mib, abs=1e-4)


def test_every_candidate_has_a_peak_and_a_dropped_block_is_its_input() -> None:
    space = load_space("scattered-digits")
    for layer, row in zip(space.layers, peaks(space), strict=True):
        assert len(row) == len(layer.candidates)
        assert all(peak > 0 for peak in row)
        if ZERO in layer.candidates:
            assert row[layer.candidates.index(ZERO)] == min(row)
