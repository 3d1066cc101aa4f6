"""The supernet against standalone networks, its initialisation, and recomputation."""

import copy
import math

import pytest
import torch
from supernet_tiny import all_paths_of, tiny_batch, tiny_space, tiny_supernet
from torch import nn
from torch.nn import functional as F

from supernet.cost import count_cost
from supernet.gates import ArchitectureParameters, sample_path
from supernet.network import Supernet, build_network, inherit_weights
from supernet.presets import load_network, load_space
from supernet.rng import generator


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


@pytest.mark.parametrize("op", ["mbconv", "plain"])
def test_blocks_beside_a_shortcut_can_begin_as_if_they_were_dropped(op):
    space = tiny_space(op, blocks=2)
    images, _ = tiny_batch()
    for zeroed in (False, True):
        supernet = Supernet(space, seed=0, zero_init_residual=zeroed).double().train()
        alike = zeroed and op == "mbconv"  # what does not end in batch norm begins as ever
        dropped = supernet(images, (0, 2, 2))
        for path in ((0, 0, 0), (0, 1, 2), (0, 2, 1)):
            assert torch.equal(supernet(images, path), dropped) == alike
        assert not torch.equal(supernet(images, (1, 2, 2)), dropped), "no shortcut"
    supernet = Supernet(space, seed=0, zero_init_residual=True).double().train()
    F.cross_entropy(supernet(images, (0, 0, 1)), tiny_batch()[1]).backward()
    if op == "mbconv":
        first = supernet.layers[supernet.position_layers[1]].candidates[0].project.bn
        assert first.weight.grad.abs().max() > 0, "and they are trained"


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


def test_a_space_sets_the_dropout_of_its_classifier_and_of_no_operator():
    space = tiny_space("dropping", dropout=0.5)
    network = build_network(space, space.architecture((0, 0)))
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.2, 0.2, 0.5]


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


def test_a_deep_copy_is_independent():
    supernet = tiny_supernet()
    twin = copy.deepcopy(supernet)
    twin.layers[1].drop(0)
    assert supernet.layers[1].living() == [0, 1, 2]
    assert twin.layers[1].living() == [1, 2]
