"""The supernet against standalone networks, its initialisation, recomputation, and own operators."""

import copy
import math
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from supernet_tiny import TINY, all_paths_of, tiny_batch, tiny_space, tiny_supernet
from torch import nn
from torch.nn import functional as F

from supernet import ops
from supernet.cost import count_cost
from supernet.errors import InputError
from supernet.gates import ArchitectureParameters, sample_path
from supernet.network import Supernet, build_network, inherit_weights
from supernet.presets import load_network, load_space
from supernet.rng import generator
from supernet.space import architecture_from_json, architecture_to_json


def state_bits(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def randomise_statistics(module):
    draws = generator("statistics")
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.copy_(torch.randn(norm.running_mean.shape, generator=draws))
            norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=draws) + 0.5)


@pytest.mark.parametrize("name", ["digits", "mbconv-32px"])
def test_standalone_network_equals_the_supernet_on_its_path(name):
    space = load_space(name)
    supernet = Supernet(space, seed=3)
    randomise_statistics(supernet)
    supernet.eval()
    images = torch.randn(4, *space.input_size, generator=generator("x"))
    probs = ArchitectureParameters(space, generator(0)).probs().detach()
    for seed in range(6):
        path = sample_path(probs, generator("path", seed))
        architecture = space.architecture(path)
        network = build_network(space, architecture, seed=99)
        inherit_weights(network, supernet, architecture)
        network.eval()
        with torch.no_grad():
            ours, theirs = network(images), supernet(images, path)
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)
        num_params = sum(p.numel() for p in supernet.path_parameters(path))
        assert num_params == count_cost(space, architecture)["num_params"]
        assert not any(
            "supernet.network.Mixed" in f"{type(m).__module__}.{type(m).__name__}" for m in network.modules()
        )


def test_different_paths_give_different_outputs():
    space, supernet = tiny_space(), tiny_supernet().eval()
    images = tiny_batch()[0]
    outputs = torch.stack([supernet(images, path) for path in all_paths_of(space)])
    assert torch.pdist(outputs.flatten(1)).min() > 1e-6


def test_zero_drops_its_block_exactly():
    supernet = tiny_supernet().train()
    images = tiny_batch()[0]
    stem, down, keep, classifier = supernet.layers
    expected = classifier.run(down.run(stem.run(images, 0), 1), 0)
    assert torch.equal(supernet(images, (1, 2)), expected)
    assert keep.zero == (False, False, True)


def test_weights_are_initialised_as_in_the_released_code():
    space, architecture = load_network("proxyless-mobile")
    network = build_network(space, architecture, seed=1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            k_h, k_w = module.kernel_size
            assert module.weight.std().item() == pytest.approx(
                math.sqrt(2 / (k_h * k_w * module.out_channels)), rel=0.05
            )
            assert module.bias is None
        if isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-3, 0.1)
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            assert 0.99 * bound < module.weight.abs().max() <= bound
            assert not module.bias.any()
        if isinstance(module, nn.Dropout):
            assert module.p == 0.1
    depthwise = network[2].op.depthwise.conv  # not divided by groups
    assert depthwise.groups == 48
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / (25 * 48)), rel=0.1)


def test_building_touches_no_global_generator():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = tiny_supernet(seed=4), tiny_supernet(seed=4)
    build_network(tiny_space(), tiny_space().architecture((0, 0)), seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_bits(first.state_dict(), second.state_dict())
    assert not same_bits(first.state_dict(), tiny_supernet(seed=5).state_dict())


@pytest.mark.parametrize("path", [(0, 0), (1, 1), (2, 2)])
def test_recomputation_gives_the_same_bits_and_updates_statistics_once(path):
    images, labels = tiny_batch(16)
    runs = []
    for recompute in (False, True):
        supernet = tiny_supernet().train()
        supernet.recompute = recompute
        F.cross_entropy(supernet(images, path), labels).backward()
        grads = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
        runs.append((grads, state_bits(supernet)))
    (grads, state), (grads_again, state_again) = runs
    assert len(grads) > 8
    assert same_bits(grads, grads_again)
    assert same_bits(state, state_again)
    assert state["layers.0.candidates.0.bn.num_batches_tracked"] == 1


def saved_bytes(supernet, images, path):
    """Bytes of activations kept for the backward pass, each storage once."""
    parameters = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = supernet(images, path)
    assert out.requires_grad
    return sum(storages.values())


def test_recomputation_keeps_less_and_a_path_keeps_what_its_network_keeps():
    space, supernet = tiny_space(blocks=3), tiny_supernet(tiny_space(blocks=3)).train()
    images, path = tiny_batch(64)[0], (1, 0, 1, 0)
    network = build_network(space, space.architecture(path)).double().train()
    plain = saved_bytes(supernet, images, path)

    class AsSupernet(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x, path):
            return self.network(x)

    assert plain <= 1.05 * saved_bytes(AsSupernet(), images, path)
    supernet.recompute = True
    assert saved_bytes(supernet, images, path) < 0.5 * plain


def test_compiled_candidates_compute_the_same():
    images, labels = tiny_batch()
    results = []
    for compiled in (False, True):
        supernet = tiny_supernet().train()
        if compiled:
            supernet.compile_candidates(backend="aot_eager")
        losses = []
        for path in [(0, 0), (2, 2), (0, 0)]:
            loss = F.cross_entropy(supernet(images, path), labels)
            loss.backward()
            losses.append(loss.detach())
        grads = torch.cat([p.grad.flatten() for p in supernet.parameters() if p.grad is not None])
        results.append((torch.stack(losses), grads, supernet.state_dict().keys()))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-9, atol=1e-11)
    assert results[0][2] == results[1][2]


def test_all_paths_with_certain_probabilities_is_that_path():
    supernet = tiny_supernet().eval()
    images = tiny_batch()[0]
    probs = [torch.tensor([0.0, 1.0, 0.0]).double(), torch.tensor([1.0, 0.0, 0.0]).double()]
    torch.testing.assert_close(supernet.all_paths(images, probs), supernet(images, (1, 0)), rtol=0, atol=1e-12)
    supernet.layers[1].drop(0)
    torch.testing.assert_close(supernet.all_paths(images, probs), supernet(images, (1, 0)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ops.BUILDERS))
def test_every_operator_gives_the_same_shape_on_equal_terms(name):
    arguments = {
        "conv": {"kernel_size": 3},
        "mbconv": {"kernel_size": 5, "expand_ratio": 3},
        "plain": {"kernel_size": 3},
    }
    layer = tiny_space().layers[2]
    module = ops.build(ops.Op(name, tuple(arguments.get(name, {}).items())), layer).double()
    x = torch.randn(2, layer.in_channels, 5, 5, dtype=torch.float64)
    before = x.clone()
    out = module(x)
    assert out.shape == ((2, layer.out_channels) if name == "classifier" else (2, layer.out_channels, 5, 5))
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


def test_a_second_operator_of_the_same_name_is_refused():
    with pytest.raises(InputError, match="registered twice"):

        @ops.register("mbconv")
        def other(in_channels, out_channels, stride):
            return nn.Identity()


def test_a_deep_copy_is_independent():
    supernet = tiny_supernet()
    twin = copy.deepcopy(supernet)
    twin.layers[1].drop(0)
    assert supernet.layers[1].living() == [0, 1, 2]
    assert twin.layers[1].living() == [1, 2]
