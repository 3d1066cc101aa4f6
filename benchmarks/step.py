"""What a step costs in time: weight steps against the standalone network, architecture steps, memory layout.

    python -m benchmarks.step --json
    python -m benchmarks.step --json --device cuda --batch 256 --precision bf16

Every comparison is interleaved: each round times all kinds on the same path, one after the other, and ratios are
of medians over the rounds. Images are random and already on the device, so no reader is timed. Each path is run
once before it is timed. On a CPU the time is processor time, which other processes do not lengthen.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import nn

from benchmarks.common import OneBatch, batch_of, environment, parser, report, wanted
from supernet.cost import macs_table
from supernet.estimators import EstimatorName
from supernet.gates import sample_path
from supernet.loop import Search
from supernet.network import Supernet, build_network
from supernet.objective import ObjectiveSettings
from supernet.presets import load_space
from supernet.recipes import NUM_SEARCH_IMAGES, paper_search, paper_warmup
from supernet.rng import generator
from supernet.search_settings import SearchSettings
from supernet.space import Path
from supernet.specialise import Training, TrainSettings
from supernet.training import Data

ESTIMATORS: tuple[EstimatorName, ...] = get_args(EstimatorName)
FOREVER = 10**9


class Bench:
    """The steps that are timed, all on one supernet and the same paths."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        self.space = load_space(args.space)
        self.costs = macs_table(self.space)
        images, labels = batch_of(self.space, args.batch, self.device, args.seed)
        self.data: Data = OneBatch(images, labels)
        self.supernet = Supernet(self.space, seed=args.seed).to(self.device)
        self.weights = self.search(SearchSettings(num_steps=FOREVER, arch_every=0))
        self.arch = {
            name: self.search(SearchSettings(num_steps=FOREVER, train_weights=False, estimator=name))
            for name in ESTIMATORS
        }

    def search(self, settings: SearchSettings) -> Search:
        """Return a search that makes one kind of step."""
        objective = ObjectiveSettings(kind="add_linear", reference=self.costs.maximum)
        settings = replace(settings, batch_size=self.args.batch, precision=self.args.precision, objective=objective)
        settings = replace(settings, check_every=FOREVER, compile=self.args.compile)
        return Search(self.supernet, self.costs, settings, self.data, seed=self.args.seed)

    def path(self, number: int) -> Path:
        """Return the path of weight step `number`."""
        uniform = self.weights.alpha.alive / self.weights.alpha.alive.sum(1, keepdim=True)
        return sample_path(uniform, generator(self.args.seed, "path", number))

    def training(self, path: Path, layout: torch.memory_format = torch.channels_last) -> Training:
        """Return the final training of a path's standalone network, made like a weight step."""
        network = build_network(self.space, self.space.architecture(path), seed=self.args.seed).to(self.device)
        network = network.to(memory_format=layout)
        settings = TrainSettings(
            num_steps=FOREVER, batch_size=self.args.batch, decay_norms=True, precision=self.args.precision
        )
        if self.args.compile:
            for block in network:
                assert isinstance(block.op, nn.Module)
                block.op.compile(dynamic=False)
        return Training(network, settings, self.data, seed=self.args.seed)

    def seconds(self, step: Callable[[], object]) -> float:
        """Return the time of one step: with the device's work on a GPU, processor time over threads on a CPU."""
        self.wait()
        start = self.clock()
        step()
        self.wait()
        return self.clock() - start

    def clock(self) -> float:
        """Return the time that counts: what other processes take from a CPU does not."""
        return time.perf_counter() if self.device.type == "cuda" else time.process_time() / self.args.threads

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def at(search: Search, number: int) -> Callable[[], object]:
    """Return a step of a search on the path of this number."""

    def step() -> object:
        search.step_index = number
        return search.step()

    return step


def steps_of(bench: Bench, number: int) -> dict[str, Callable[[], object]]:
    """Return every kind of step on one path."""
    supernet_step = {"weight step": at(bench.weights, number)}
    standalone = {"standalone": bench.training(bench.path(number)).step}
    return supernet_step | standalone | {name: at(search, number) for name, search in bench.arch.items()}


def timed(bench: Bench, paths: int, rounds: int) -> dict[str, list[float]]:
    """Return seconds per kind, one entry per (path, round); the order within a round alternates."""
    found: dict[str, list[float]] = {}
    for number in range(paths):
        steps = list(steps_of(bench, number).items())
        for _, step in steps:
            step()
        for turn in range(rounds):
            for kind, step in steps if turn % 2 else reversed(steps):
                found.setdefault(kind, []).append(bench.seconds(step))
    return found


def layouts(bench: Bench, paths: int, rounds: int) -> dict[str, float]:
    """Return median seconds of a standalone step in both layouts, weights and images alike."""
    found: dict[str, list[float]] = {"channels_last": [], "default": []}
    formats = {"channels_last": torch.channels_last, "default": torch.contiguous_format}
    for number in range(paths):
        steps = {name: plain_step(bench, bench.path(number), layout) for name, layout in formats.items()}
        for step in steps.values():
            step()
        for _ in range(rounds):
            for name, step in steps.items():
                found[name].append(bench.seconds(step))
    return {name: statistics.median(times) for name, times in found.items()}


def plain_step(bench: Bench, path: Path, layout: torch.memory_format) -> Callable[[], object]:
    """Return forward, backward and optimiser step with images in a layout (`Training` always uses channels_last)."""
    training = bench.training(path, layout)
    images, labels = next(bench.data.batches("train", bench.args.batch))
    images = images.contiguous(memory_format=layout)

    def step() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=autocast(bench)):
            loss = nn.functional.cross_entropy(training.network(images), labels)
        training.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        training.optimiser.step()

    return step


def autocast(bench: Bench) -> bool:
    """Whether the steps run in bf16."""
    return bench.args.precision == "bf16" or (bench.args.precision == "auto" and bench.device.type == "cuda")


def host_waits(bench: Bench) -> str:
    """Return whether a weight step makes the host wait for the GPU."""
    if bench.device.type != "cuda":
        return "not a GPU"
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        at(bench.weights, 0)()
    except RuntimeError as error:
        return str(error)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "none"


def schedule(weight: float, arch: float, batch: int) -> dict[str, float]:
    """Return images per second of the search and hours of the paper's ImageNet schedule at these step times."""
    warmup = paper_warmup(NUM_SEARCH_IMAGES, batch)
    search = paper_search(ObjectiveSettings(reference=80.0), NUM_SEARCH_IMAGES, batch)
    seconds = warmup.num_steps * weight + search.num_steps * (weight + arch / search.arch_every)
    return {
        "images_per_second": round(batch / (weight + arch / search.arch_every), 2),
        "projected_hours": round(seconds / 3600, 1),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return everything that this benchmark measures."""
    bench = Bench(args)
    times = timed(bench, args.paths, args.rounds)
    median = {kind: statistics.median(values) for kind, values in times.items()}
    weight, layout = median["weight step"], layouts(bench, args.paths, max(2, args.rounds // 2))
    return {
        "environment": environment(args) | {"compile": args.compile},
        "milliseconds": {kind: round(1000 * value, 2) for kind, value in median.items()},
        "images_per_second": {kind: round(args.batch / value, 2) for kind, value in median.items()},
        "paper_schedule_40_and_120_epochs": {name: schedule(weight, median[name], args.batch) for name in ESTIMATORS},
        "layout_milliseconds": {name: round(1000 * value, 2) for name, value in layout.items()},
        "host_waits_in_a_weight_step": host_waits(bench),
        "promises": {
            "weight step / standalone step": wanted(weight / median["standalone"], 1.05, most=True),
            "two-path / weight step": wanted(median["two-path"] / weight, 2.0, most=True),
            "one-path / weight step": round(median["one-path"] / weight, 3),
            "reinforce (10 paths) / weight step": round(median["reinforce"] / weight, 3),
            "default layout / channels_last": round(layout["default"] / layout["channels_last"], 3),
        },
    }


def main() -> None:
    """Measure and print."""
    found = parser(__doc__ or "", batch=4)
    found.add_argument("--paths", type=int, default=4, help="random paths (default: 4)")
    found.add_argument("--rounds", type=int, default=6, help="timed rounds per path (default: 6)")
    found.add_argument("--compile", action="store_true", help="compile every candidate (slow to start)")
    args = found.parse_args()
    torch.set_num_threads(args.threads)
    report(measure(args), as_json=args.json)


if __name__ == "__main__":
    main()
