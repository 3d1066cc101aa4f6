"""Operators: shapes, styles, and own ones by registration."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from supernet_tiny import TINY, tiny_batch, tiny_space
from torch import nn

from supernet import ops
from supernet.cost import count_cost
from supernet.errors import InputError
from supernet.network import Supernet
from supernet.presets import load_space
from supernet.rows import make_divisible
from supernet.space import architecture_from_json, architecture_to_json


@pytest.mark.parametrize("name", sorted(ops.BUILDERS))
def test_every_operator_gives_the_same_shape_on_equal_terms(name):
    arguments = {
        "conv": {"kernel_size": 3},
        "mbconv": {"kernel_size": 5, "expand_ratio": 3},
        "plain": {"kernel_size": 3},
        "dropping": {"kernel_size": 3},
    }
    layer = tiny_space().layers[2]
    module = ops.build(ops.Op(name, tuple(arguments.get(name, {}).items())), layer).double()
    x = torch.randn(2, layer.in_channels, 5, 5, dtype=torch.float64)
    before = x.clone()
    out = module(x)
    shapes = {"classifier": (2, layer.out_channels), "pooled_linear": (2, layer.out_channels, 1, 1)}
    assert out.shape == shapes.get(name, (2, layer.out_channels, 5, 5))
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["conv", "mbconv"])
def test_operators_take_an_activation_and_batch_norm_constants(name):
    arguments = {"kernel_size": 3} | ({"expand_ratio": 2} if name == "mbconv" else {})
    layer = tiny_space().layers[2]

    def kinds(**style):
        module = ops.build(ops.Op(name, tuple({**arguments, **style}.items())), layer)
        norms = {(m.eps, m.momentum) for m in module.modules() if isinstance(m, nn.BatchNorm2d)}
        return norms, {type(m) for m in module.modules()} - {nn.Sequential, nn.Conv2d, nn.BatchNorm2d}

    assert kinds() == ({(1e-3, 0.1)}, {nn.ReLU6})
    assert kinds(activation="relu", bn_eps=1e-5, bn_momentum=0.2) == ({(1e-5, 0.2)}, {nn.ReLU})
    assert kinds(activation="hard_swish") == ({(1e-3, 0.1)}, {nn.Hardswish})
    assert kinds(activation="none") == ({(1e-3, 0.1)}, set())


def test_squeeze_and_excitation_and_fractions_of_channels():
    layer = tiny_space().layers[2]
    plain = {"kernel_size": 3, "expand_ratio": 2}

    def channels(**more):
        module = ops.build(ops.Op("mbconv", tuple({**plain, **more}.items())), layer)
        return [m.out_channels for m in module.modules() if isinstance(m, nn.Conv2d)]

    wide, narrow = layer.in_channels, layer.out_channels
    assert channels() == channels(se_ratio=0) == [2 * wide, 2 * wide, narrow]
    assert channels(se_ratio=0.25) == [2 * wide, 2 * wide, 8, 2 * wide, narrow]
    assert channels(expand_ratio=4.6)[0] == make_divisible(4.6 * wide), "no multiple of the input's: a multiple of 8"
    shorts = [ops.Op("mbconv", tuple({**plain, "se_ratio": ratio}.items())).short for ratio in (0, 0.25)]
    assert shorts == ["k3e2s0", "k3e2s0.25"]


OWN_OPERATOR = """
from torch import nn
from supernet.ops import register

@register("{name}")
def separable(in_channels, out_channels, stride, *, dilation):
    depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch):
    (tmp_path / "own_operators.py").write_text(textwrap.dedent(OWN_OPERATOR.format(name="separable")))
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_operators"
    sys.modules.pop("own_operators", None)
    ops.BUILDERS.pop("separable", None)


def test_an_own_operator_joins_a_space_by_registration(own_module):
    rows = [dict(row) for row in TINY["rows"]]
    rows[2] = {"name": "keep", "op": "separable", "dilation": [1, 2], "channels": 6, "blocks": 2, "skip": True}
    space = load_space({**TINY, "rows": rows, "operators": own_module})
    assert [op.short for op in space.positions[1].candidates] == ["separable_d1", "separable_d2", "z"]
    path = (0, 1, 2)
    architecture = space.architecture(path)
    assert architecture_from_json(architecture_to_json(space, architecture), "own")[0].path(architecture) == path
    # 6 x 6 input halved to 3 x 3: depthwise 3 x 3, pointwise, batch norm (scale and shift).
    mbconv = 4 * 8 + 2 * 8 + 8 + 2 * 8 + 8 * 6 + 2 * 6
    fixed = 2 * 4 * 9 + 2 * 4 + 6 * 3 + 3
    assert count_cost(space, architecture)["num_params"] == fixed + mbconv + 6 * 9 + 36 + 12
    supernet = Supernet(space).double()
    assert supernet(tiny_batch()[0], path).shape == (8, 3)


def test_a_second_operator_of_the_same_name_is_refused(own_module, tmp_path):
    module = importlib.import_module(own_module)
    importlib.reload(module)
    assert ops.BUILDERS["separable"] is module.separable, "read anew, as in a notebook"
    own, known = "def separable(", ops.BUILDERS["mbconv"]
    (tmp_path / "own_operators.py").write_text(OWN_OPERATOR.format(name="mbconv").replace(own, "def mbconv("))
    with pytest.raises(InputError, match=r"'mbconv' is registered twice: supernet\.ops\.mbconv, own_operators\.mbconv"):
        importlib.reload(module)
    assert ops.BUILDERS["mbconv"] is known
