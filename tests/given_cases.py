"""A digits network that was trained outside of any sweep, with its files, for the tests of what is registered."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from latency.measuring.measure import Measurement
from latency.target import Target
from orchestrator.data.batches import ImageData, Normalisation
from orchestrator.data.build import build
from supernet.network import build_network
from supernet.presets import load_space
from supernet.space import architecture_to_json
from supernet.training import recalibrate

SPACE = load_space("digits")
ARCHITECTURE = SPACE.architecture((1,) * 6)


def build_digits(folder: Path) -> str:
    build("digits", str(folder), validation_fraction=0.1, test_fraction=0.2, seed=0)
    return str(folder)


def trained(data: str, normalisation: Normalisation | None = None) -> nn.Sequential:
    """Return a network that a short training made better than guessing."""
    torch.set_num_threads(1)
    network = build_network(SPACE, ARCHITECTURE)
    images = ImageData(data, input_size=SPACE.input_size, seed=0, normalisation=normalisation)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for batch, labels in images.once("train", 64):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(batch), labels).backward()
        optimiser.step()
    recalibrate(network, images.once("train", 64), torch.device("cpu"))
    return network.eval()


def write_parts(network: nn.Module, folder: Path) -> tuple[Path, Path]:
    """Write a network as architecture and weights."""
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "own.safetensors")
    (folder / "own.json").write_text(architecture_to_json(SPACE, ARCHITECTURE))
    return folder / "own.json", folder / "own.safetensors"


def timed(file: Path, target: Target) -> Measurement:
    """Stand for a measurement, which takes a quiet machine."""
    return Measurement(file.stat().st_size / 1e6, 0.01, 2.0, 7, None, "")
