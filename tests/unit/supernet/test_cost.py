"""Shapes and counts of spaces and networks, against the released code, torchvision and the formula."""

import pytest
import torch
from torchvision.models import mobilenet_v2, mobilenet_v3_small

from supernet.cost import block_costs, count_cost, macs_table, params_table, trace
from supernet.network import Supernet, build_network
from supernet.presets import load_network, load_space


@pytest.mark.parametrize(
    ("name", "num_weights"), [("proxyless-imagenet", 16_034_168), ("proxyless-imagenet-32", 16_158_680)]
)
def test_imagenet_space_has_the_counts_of_the_released_code(name, num_weights):
    space = load_space(name)
    assert [len(p.candidates) for p in space.positions] == [6, 7, 7, 7] * 5 + [6]
    assert space.num_architectures == 221_502_229_807_900_608
    assert [op.short for op in space.positions[1].candidates] == ["k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "z"]
    counted = params_table(space)
    assert counted.fixed + sum(map(sum, counted.candidates)) == num_weights
    with torch.device("meta"):
        assert sum(p.numel() for p in Supernet(space).parameters()) == num_weights


def test_imagenet_space_has_the_shapes_of_the_released_code():
    shapes = {t.layer.name: t.out_shape for t in trace(load_space("proxyless-imagenet"))}
    expected = {"stem": (32, 112, 112), "first": (16, 112, 112), "stage1.3": (24, 56, 56), "stage2.0": (40, 28, 28)}
    expected |= {"stage3.0": (80, 14, 14), "stage4.0": (96, 14, 14), "stage5.0": (192, 7, 7), "stage6": (320, 7, 7)}
    expected |= {"mix": (1280, 7, 7), "classifier": (1000,)}
    assert expected.items() <= shapes.items()
    shortcuts = [layer.residual for layer in load_space("proxyless-imagenet").layers]
    assert shortcuts == [False, False, *[False, True, True, True] * 5, False, False, False]


@pytest.mark.parametrize(
    ("name", "num_params", "num_macs"),
    [
        ("proxyless-mobile", 4_080_512, 320_427_584),
        ("proxyless-gpu", 7_119_848, 465_260_160),
        ("proxyless-cpu", 4_361_648, 439_243_864),
        ("proxyless-mobile-14", 6_857_568, 580_883_408),
        ("mobilenet-v2", 3_504_872, 300_774_272),
        ("mobilenet-v3-small", 2_542_856, 56_510_400),
    ],
)
def test_published_networks_have_their_published_size(name, num_params, num_macs):
    space, architecture = load_network(name)
    cost = count_cost(space, architecture)
    assert cost == {"num_params": num_params, "num_macs": num_macs, "output_shape": [1, 1000]}
    blocks = block_costs(space, architecture)
    assert (sum(b.num_params for b in blocks), sum(b.num_macs for b in blocks)) == (num_params, num_macs)
    assert load_network(architecture.id) == (space, architecture)


@pytest.mark.parametrize(
    ("digits", "num_params", "num_macs"),
    [
        ("00000000", 387_882, 7_713_280),
        ("11111111", 1_588_874, 53_246_464),
        ("22222222", 2_932_586, 105_660_928),
        ("01201202", 1_711_210, 52_904_448),
        ("20110110", 1_067_946, 39_324_160),
        ("12021021", 2_014_602, 67_092_992),
    ],
)
def test_networks_of_nas_bench_macro_have_the_counts_of_its_table(digits, num_params, num_macs):
    space = load_space("nas-bench-macro")
    cost = count_cost(space, space.architecture([(int(digit) + 2) % 3 for digit in digits]))
    assert (cost["num_params"], cost["num_macs"]) == (num_params, num_macs)


def test_mobilenet_v2_has_the_parameters_of_torchvision():
    with torch.device("meta"):
        reference = mobilenet_v2()
        ours = build_network(*load_network("mobilenet-v2"))
    assert sorted(p.shape for p in ours.parameters()) == sorted(p.shape for p in reference.parameters())


def test_mobilenet_v3_small_computes_what_torchvisions_does():
    torch.manual_seed(0)
    reference, ours = mobilenet_v3_small().eval(), build_network(*load_network("mobilenet-v3-small")).eval()
    for tensor in reference.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5)  # batch norm that does something
    given = list(reference.state_dict().values())
    taken = ours.state_dict()
    ours.load_state_dict({key: new.view_as(old) for (key, old), new in zip(taken.items(), given, strict=True)})
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), reference(images), rtol=1e-4, atol=1e-4)


def test_macs_are_those_of_the_convolution_formula():
    # k5e3, 16 -> 24 channels, stride 2, on 112 x 112: expand, depthwise, project.
    found = macs_table(load_space("proxyless-imagenet")).candidates[0][2]
    assert found == 112 * 112 * 16 * 48 + 56 * 56 * 48 * 25 + 56 * 56 * 48 * 24
