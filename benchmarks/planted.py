"""A task whose best candidate per position is known: how often does a search find all of them?

    python -m benchmarks.planted --json

An image has one channel per position, cut into four quadrants. A label is one bit per channel. At most positions
the bit is written into one quadrant and the other three hold noise: the candidate that keeps this quadrant alone
is best. At one position it is written faintly into all four: there Zero, which keeps the whole channel, is best.
Weights (the candidates' gains and the classifier) and alpha are searched together, from fresh weights.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from benchmarks.common import report, wanted
from supernet.cost import CostTable
from supernet.estimators import EstimatorName
from supernet.loop import Search
from supernet.network import Supernet
from supernet.objective import ObjectiveSettings
from supernet.ops import register
from supernet.rng import generator
from supernet.search_settings import SearchSettings
from supernet.space import Path, Space, read_space

NUM_POSITIONS, SIZE, ZERO = 4, 4, 4
SIGNAL, FAINT_SIGNAL, NOISE = 2.0, 1.0, 2.0


def quadrant_mask(quadrant: int) -> Tensor:
    """Return ones in one quadrant of a SIZE x SIZE image, zeros elsewhere."""
    half, mask = SIZE // 2, torch.zeros(SIZE, SIZE)
    top, left = half * (quadrant // 2), half * (quadrant % 2)
    mask[top : top + half, left : left + half] = 1.0
    return mask


class KeepQuadrant(nn.Module):
    """What is added to an image so that one channel keeps one quadrant, times a gain that is learnt."""

    mask: Tensor
    chosen: Tensor

    def __init__(self, num_channels: int, channel: int, quadrant: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.register_buffer("mask", quadrant_mask(quadrant))
        self.register_buffer("chosen", torch.eye(num_channels)[channel].view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (gain * mask - 1) * x in the channel, zero in the others."""
        return (self.gain * self.mask - 1.0) * self.chosen * x


@register("keep_quadrant")
def keep_quadrant(in_channels: int, out_channels: int, stride: int, *, channel: int, quadrant: int) -> nn.Module:
    """Build the candidate that keeps one quadrant of one channel."""
    return KeepQuadrant(in_channels, channel, quadrant)


def planted_space() -> Space:
    """Return the space: per channel four quadrants and Zero."""
    rows: list[dict[str, Any]] = [
        {
            "name": f"channel{channel}",
            "channels": NUM_POSITIONS,
            "skip": True,
            "candidates": [{"op": "keep_quadrant", "channel": channel, "quadrant": [0, 1, 2, 3]}],
        }
        for channel in range(NUM_POSITIONS)
    ]
    size = [NUM_POSITIONS, SIZE, SIZE]
    rows.append({"name": "classifier", "op": "classifier"})
    return read_space({"name": "planted", "input_size": size, "num_classes": 2**NUM_POSITIONS, "rows": rows}, "planted")


def planted_path(seed: int) -> Path:
    """Return the best path of a seed: random quadrants, and Zero at one random position."""
    draws = generator("planted", seed)
    path = torch.randint(4, (NUM_POSITIONS,), generator=draws)
    path[torch.randint(NUM_POSITIONS, (), generator=draws)] = ZERO
    return tuple(path.tolist())


@dataclass(frozen=True)
class PlantedData:
    """Endless images of a planted path; batch `i` is a function of the split and `i`."""

    path: Path

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (N, channels, SIZE, SIZE) and labels whose bits are the channels'."""
        places = torch.stack(
            [FAINT_SIGNAL * torch.ones(SIZE, SIZE) if j == ZERO else SIGNAL * quadrant_mask(j) for j in self.path]
        )
        while True:
            draws = generator("planted", split, start, str(self.path))
            bits = torch.randint(2, (batch_size, NUM_POSITIONS), generator=draws)
            noise = NOISE * torch.randn(batch_size, NUM_POSITIONS, SIZE, SIZE, generator=draws)
            yield (2.0 * bits - 1.0)[:, :, None, None] * places + noise, bits @ (2 ** torch.arange(NUM_POSITIONS))
            start += 1

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one batch."""
        yield next(self.batches(split, batch_size))


def found_path(estimator: EstimatorName, seed: int, num_steps: int) -> Path:
    """Search from fresh weights and return the most probable path."""
    space, data = planted_space(), PlantedData(planted_path(seed))
    nothing = CostTable("nothing", "1", 0.0, ((0.0,) * 5,) * NUM_POSITIONS)
    settings = SearchSettings(
        num_steps=num_steps,
        batch_size=64,
        learning_rate=0.1,
        label_smoothing=0.0,
        arch_every=1,
        arch_learning_rate=0.03,
        estimator=estimator,
        objective=ObjectiveSettings(kind="add_linear", reference=1.0, weight=0.0),
        precision="fp32",
    )
    search = Search(Supernet(space, seed=seed), nothing, settings, data, seed=seed)
    while not search.done:
        search.step()
    return tuple(search.alpha.probs().argmax(1).tolist())


def main() -> None:
    """Search every seed with every estimator and print how often the planted path was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--seeds", type=int, default=20, help="seeds per estimator (default: 20)")
    parser.add_argument("--steps", type=int, default=300, help="steps per search (default: 300)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"torch": torch.__version__, "seeds": args.seeds, "steps": args.steps}
    for estimator in get_args(EstimatorName):
        start = time.perf_counter()
        found = [found_path(estimator, seed, args.steps) for seed in range(args.seeds)]
        share = sum(path == planted_path(seed) for seed, path in enumerate(found)) / args.seeds
        result[estimator] = {"recovered": wanted(share, 0.95, most=False), "seconds": time.perf_counter() - start}
    report(result, as_json=args.json)


if __name__ == "__main__":
    main()
