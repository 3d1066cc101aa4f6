"""What is known of a delivered file: its accuracy, and how far its outputs are from the network's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latency.graphs.export import export_onnx, export_program
from latency.target import load_target
from orchestrator.data.storage import Storage
from orchestrator.plan.requirements import GateConfig
from orchestrator.plan.trials import ONNX_FILE, PROGRAM_FILE
from orchestrator.trial.deliver import differences, tally, top1
from supernet.network import build_network
from supernet.presets import load_space


def test_top1_is_the_share_of_images_whose_highest_output_is_their_label() -> None:
    batches = [
        (torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])),
        (torch.tensor([[0.3, 0.2]]), torch.tensor([0])),
    ]
    assert top1(lambda images: images, batches) == pytest.approx(2 / 3)
    assert top1(lambda images: np.zeros_like(images), []) == 0.0
    tallied = tally(lambda images: images, batches)
    assert tallied.counts == {(1, 1): 1, (1, 0): 1, (0, 0): 1}
    assert tallied.top1 == pytest.approx(2 / 3)
    assert tallied.top5 is None, "of two classes both are among the first five"


@pytest.mark.parametrize("num_classes", [5, 6, 40])
def test_top5_is_that_of_torch_and_is_told_where_it_says_something(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(num_classes)
    outputs = torch.randn(200, num_classes, generator=generator)
    labels = torch.randint(num_classes, (200,), generator=generator)
    found = tally(lambda images: images, zip(outputs.split(64), labels.split(64), strict=True))
    five = (outputs.topk(5).indices == labels[:, None]).any(1).double().mean().item()
    assert found.top5 == (None if num_classes == 5 else pytest.approx(five))
    assert found.top1 == pytest.approx((outputs.argmax(1) == labels).double().mean().item())


def test_of_equal_outputs_the_lower_class_counts_as_the_higher() -> None:
    found = tally(lambda images: images, [(torch.zeros(8, 8), torch.arange(8))])
    assert (found.top1, found.top5) == (1 / 8, 5 / 8)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("ort-cpu-1t", {ONNX_FILE: "fp32", PROGRAM_FILE: "fp32"}),
        ("torch-cpu-bf16-1t", {ONNX_FILE: "fp32", PROGRAM_FILE: "bf16"}),
        ("ort-cpu-int8-1t", {PROGRAM_FILE: "fp32"}),
    ],
)
def test_files_of_another_network_are_far_off_and_those_of_the_network_are_not(
    tmp_path: Path, target: str, kept: dict[str, str]
) -> None:
    space = load_space("digits")
    goal, networks = load_target(target), []
    for seed in (0, 1):
        network = build_network(space, space.architecture((1,) * 6), seed=seed)
        network(torch.randn(32, *space.input_size, generator=torch.Generator().manual_seed(seed)))
        networks.append(network.eval())
    precision = "bf16" if "bf16" in target else "fp32"
    export_onnx(networks[0], space.input_size, tmp_path / ONNX_FILE)
    (tmp_path / PROGRAM_FILE).write_bytes(export_program(networks[0], space.input_size, precision))
    store = Storage(str(tmp_path))
    own, other = (differences(store, goal, network, space.input_size) for network in networks)
    assert {name: found.precision for name, found in own.items()} == kept
    for name, precision in kept.items():
        allowed = getattr(GateConfig().parity, precision)
        assert own[name].share <= allowed < other[name].share
