"""Candidate operators and their registry: from an `Op` and its channels to a module.

Why here: the only place where operators are written as code. An operator knows its channels and stride,
nothing of positions, shortcuts or the search. Own operators join by `@register("name")`.
"""

import importlib
import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.errors import InputError, nearest
from supernet.rows import Layer, Op, make_divisible

Builder = Callable[..., nn.Module]
"""(in_channels, out_channels, stride, *, own arguments) -> module from (N, in, H, W) to (N, out, H', W').

The module must not change its input in place: the shortcut and the other candidates read it too. Its
convolutions and linear layers are initialised by `build`.
"""

# Batch-norm constants of the released search code; initialisation is its own too.
BN_MOMENTUM, BN_EPS = 0.1, 1e-3

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"relu6": nn.ReLU6, "relu": nn.ReLU, "hard_swish": nn.Hardswish}

BUILDERS: dict[str, Builder] = {}
"""The registered operators by name."""


def register(name: str) -> Callable[[Builder], Builder]:
    """Register an operator under a name, for use as `op: name` in a space; one of a module read anew replaces itself.

    Raises:
        InputError: If the name is taken by another builder.
    """

    def add(builder: Builder) -> Builder:
        known, here = (f"{b.__module__}.{b.__qualname__}" for b in (BUILDERS.get(name, builder), builder))
        if known != here:
            raise InputError(f"operator {name!r} is registered twice: {known}, {here}; give one another name")
        BUILDERS[name] = builder
        return builder

    return add


def load_operators(module: str) -> None:
    """Import the module that registers a space's own operators (`operators:` in its YAML)."""
    if not module:
        return
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"operators: cannot import {module!r} ({error}); put it on PYTHONPATH") from error
    except Exception as error:  # its code is anybody's and raises anything
        raise InputError(f"operators: importing {module!r} ended in {type(error).__name__}: {error}") from error


def build(op: Op, layer: Layer) -> nn.Module:
    """Build one candidate of a layer, with fresh weights from torch's global generator.

    Raises:
        InputError: If the operator is unknown or takes other arguments, naming the layer.
    """
    if op.name not in BUILDERS:
        raise InputError(f"{layer.name}: unknown operator {op.name!r}{nearest(op.name, BUILDERS.keys() - {'zero'})}")
    builder, args = BUILDERS[op.name], dict(op.args)
    try:
        inspect.signature(builder).bind(1, 1, 1, **args)
    except TypeError as error:
        raise InputError(f"{layer.name}: operator {op.name!r} with {args}: {error}") from error
    try:
        module = builder(layer.in_channels, layer.out_channels, layer.stride, **args)
    except InputError as error:
        raise InputError(f"{layer.name}: operator {op.name!r}: {error}") from error
    if not any(parameter.is_meta for parameter in module.parameters()):  # built to be counted
        module.apply(_initialise)
    return module


def _initialise(module: nn.Module) -> None:
    """He initialisation on the fan-out, not divided by groups, as in the released search code."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        bound = 1.0 / math.sqrt(module.in_features)
        nn.init.uniform_(module.weight, -bound, bound)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def start_at_zero(module: nn.Module) -> None:
    """Have a module that ends in batch norm put out zeros until it is trained; leave any other as it is.

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 5.1; `zero_init_residual` of torchvision's networks.
    """
    *_, last = module.modules()
    if isinstance(last, nn.modules.batchnorm._BatchNorm) and last.affine:
        nn.init.zeros_(last.weight)


def activation_named(name: str) -> list[tuple[str, nn.Module]]:
    """Return the last part of a block: its activation, or nothing for "none".

    Raises:
        InputError: If there is none of this name.
    """
    known = ["none", *ACTIVATIONS]
    if name not in known:
        raise InputError(f"unknown activation {name!r}{nearest(name, known)}")
    return [] if name == "none" else [("act", ACTIVATIONS[name](inplace=True))]


@dataclass(frozen=True)
class _Style:
    """What all convolutions of an operator share beside their shapes."""

    activation: str
    bn_eps: float
    bn_momentum: float

    def conv_bn(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> nn.Sequential:
        """Build a convolution, its batch norm, and with `act` its activation."""
        convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        )
        norm = nn.BatchNorm2d(out_channels, eps=self.bn_eps, momentum=self.bn_momentum)
        parts: list[tuple[str, nn.Module]] = [("conv", convolution), ("bn", norm)]
        return nn.Sequential(OrderedDict([*parts, *(activation_named(self.activation) if act else [])]))


@register("conv")
def conv(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    kernel_size: int,
    activation: str = "relu6",
    bn_eps: float = BN_EPS,
    bn_momentum: float = BN_MOMENTUM,
) -> nn.Module:
    """Build convolution, batch norm and activation; with `activation` "none" a projection, for dropped first blocks."""
    return _Style(activation, bn_eps, bn_momentum).conv_bn(in_channels, out_channels, kernel_size, stride)


class SqueezeExcitation(nn.Module):
    """Scales channels by what a small network makes of their means.

    Args:
        channels: Of input and output.
        squeezed: Between its two layers.

    Source: Hu et al. 2018; with a hard sigmoid as in Howard et al. 2019.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled input, shape (N, C, H, W)."""
        scale: Tensor = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(self.pool(x)))))
        return x * scale


@register("mbconv")
def mbconv(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    kernel_size: int,
    expand_ratio: float,
    se_ratio: float = 0,
    activation: str = "relu6",
    bn_eps: float = BN_EPS,
    bn_momentum: float = BN_MOMENTUM,
) -> nn.Module:
    """Build the inverted residual of MobileNetV2: expand, depthwise, linear projection.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        stride: Of the depthwise convolution.
        kernel_size: Of the depthwise convolution.
        expand_ratio: Channels between, as a multiple of the input's; where it is no whole number, they are rounded to a
            multiple of 8.
        se_ratio: Channels of a squeeze-and-excitation after the depthwise convolution, as a share of those between; 0
            for none (MobileNetV3: 0.25).
        activation: After expansion and depthwise convolution.
        bn_eps: Of batch norm.
        bn_momentum: Of batch norm.

    Source: Sandler et al. 2018 (MobileNetV2); Howard et al. 2019 (MobileNetV3).
    """
    style, mid = _Style(activation, bn_eps, bn_momentum), round(in_channels * expand_ratio)
    if expand_ratio != int(expand_ratio):
        mid = make_divisible(in_channels * expand_ratio)
    parts: list[tuple[str, nn.Module]] = []
    if expand_ratio != 1:
        parts.append(("expand", style.conv_bn(in_channels, mid, 1)))
    parts.append(("depthwise", style.conv_bn(mid, mid, kernel_size, stride, groups=mid)))
    if se_ratio:
        parts.append(("excite", SqueezeExcitation(mid, make_divisible(mid * se_ratio))))
    parts.append(("project", style.conv_bn(mid, out_channels, 1, act=False)))
    return nn.Sequential(OrderedDict(parts))


class Zero(nn.Module):
    """The candidate that drops its block: its output is zero everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the shape of `x` (only shape-keeping layers have this candidate)."""
        return torch.zeros_like(x)


@register("zero")
def zero(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Build the Zero candidate."""
    return Zero()


@register("pooled_linear")
def pooled_linear(in_channels: int, out_channels: int, stride: int, *, activation: str = "hard_swish") -> nn.Module:
    """Build global average pooling, a linear layer and its activation: (N, in, H, W) to (N, out, 1, 1).

    Source: the last stage of Howard et al. 2019 (MobileNetV3), which widens after the pooling.
    """
    parts: list[tuple[str, nn.Module]] = [("pool", nn.AdaptiveAvgPool2d(1))]
    parts.append(("linear", nn.Conv2d(in_channels, out_channels, 1)))
    return nn.Sequential(OrderedDict([*parts, *activation_named(activation)]))


class Classifier(nn.Module):
    """Global average pooling, dropout and a linear layer: (N, C, H, W) to (N, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0)
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.linear(self.dropout(x.mean((2, 3))))
        return logits


@register("classifier")
def classifier(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Build the classification head; its rate of dropout is set for final training only."""
    return Classifier(in_channels, out_channels)


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norm in train mode uses batch statistics but does not touch its running ones.

    Architecture steps run so: they judge paths and must leave no trace in them.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def scratch_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, the module updates copies of its buffers; afterwards the real ones are back as they were.

    Recomputation runs so: it must save for the backward pass what the first forward saved, running statistics
    among it, without updating them a second time.
    """
    kept = [(m, name, buffer) for m in module.modules() for name, buffer in m.named_buffers(recurse=False)]
    for m, name, buffer in kept:
        setattr(m, name, buffer.clone())
    try:
        yield
    finally:
        for m, name, buffer in kept:
            setattr(m, name, buffer)
