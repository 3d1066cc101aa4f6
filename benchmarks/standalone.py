"""Compares the network that a search finds with random ones of equal latency, all trained alone with one recipe.

The settings of the search are those of `benchmarks.macro`, untouched; space and target are others, so the budget is a
latency, the median of random paths. Everything is kept in `--work`, by space, target and architecture, and a killed run
goes on. What is found is trained with several seeds: their spread says what a difference between networks means.
Latencies are the table's: build it with `onepath latency build`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import in_a_sentence, say
from benchmarks.macro.finding import fill_pool, searched_probs
from benchmarks.macro.images import MacroImages
from benchmarks.macro.judging import derive_settings, has_own, judge_of
from benchmarks.macro.results import tell
from benchmarks.macro.supernets import Run, read_settings, train
from benchmarks.seeded import require_budget
from latency.tables.estimate import cost_table
from latency.target import load_target
from supernet.cost import CostTable, count_cost
from supernet.derive import Derivation, pick
from supernet.files import whole, write_whole
from supernet.network import build_network
from supernet.plain import read, read_json, to_json
from supernet.pool import pool_paths
from supernet.presets import load_space
from supernet.proposals import draw_close
from supernet.rng import generator
from supernet.space import Path as Choices
from supernet.space import Space
from supernet.specialise import Training, TrainSettings

SAVE_EVERY, NUM_TYPICAL, SLACK = 100, 501, 0.03
"""Steps between checkpoints; random paths whose median is the budget; equal latency is within so much under it."""


@dataclass(frozen=True)
class Networks:
    """What is compared: the found path and random ones, by the budget in milliseconds that all keep."""

    budget_ms: float
    found: Choices
    random: tuple[Choices, ...]


@dataclass(frozen=True)
class Trained:
    """One network trained alone: top-1 on the test split, 0..1."""

    name: str
    seed: int
    latency_ms: float
    num_macs: int
    top1: float


def choose(run: Run, data: MacroImages, costs: CostTable, count: int) -> Networks:
    """Return the networks to compare: one search for the found one, and `count` random ones of its budget.

    Raises:
        InputError: If what is kept was found by another table.
    """
    file, space = run.folder / costs.name / "networks.json", load_space(run.space)
    budget = statistics.median(costs.total(path) for path in pool_paths(space, NUM_TYPICAL, run.seed))
    if not file.exists():
        supernet = train(run, data, say)
        ask = judge_of(supernet, data, own=has_own(run, data))
        question = Derivation(
            searched_probs(run, supernet, data, costs, budget, "one-path"),
            costs,
            budget,
            ask,
            lambda attempt: generator(run.seed, "derive", attempt),
            settings=derive_settings(),
            pool=fill_pool(run, supernet, ask).judged,
        )
        found = pick(question).path
        say(f"found {space.architecture(found).id}, {costs.total(found):.4f} ms of {budget:.4f}")
        write_whole(file, to_json(Networks(budget, found, random_paths(costs, budget, count, run.seed))).encode())
    known: Networks = read_json(Networks, file.read_bytes(), str(file))
    require_budget(file, known.budget_ms, budget)
    return replace(known, random=random_paths(costs, budget, count, run.seed))


def random_paths(costs: CostTable, budget: float, count: int, seed: int) -> tuple[Choices, ...]:
    """Return distinct random paths close under a budget; the first ones of a longer list."""
    even = torch.tensor(
        [[1.0 / len(row)] * len(row) + [0.0] * (costs.matrix.shape[1] - len(row)) for row in costs.candidates]
    )
    drawn = draw_close(even, costs, (1 - SLACK) * budget, budget, 4096, generator(seed, "random networks"))
    return tuple(dict.fromkeys(drawn))[:count]


def train_alone(
    space: Space, path: Choices, name: str, seed: int, epochs: float, data: MacroImages, costs: CostTable, work: Path
) -> Trained:
    """Return what a network comes to when it is trained alone, going on from its checkpoint.

    Both are kept by its architecture: another network of the same name is trained anew.
    """
    architecture = space.architecture(path)
    kept = f"{name}-s{seed}-{architecture.id.partition(':')[2]}"
    result, file = work / f"{kept}.json", work / f"{kept}.pt"
    if result.exists():
        known: Trained = read_json(Trained, result.read_bytes(), str(result))
        return known
    work.mkdir(parents=True, exist_ok=True)
    plain = dict(read_settings()["train"])
    plain["num_steps"] = data.num_steps(epochs, plain["batch_size"])
    settings: TrainSettings = read(TrainSettings, plain, "settings.yaml.train")
    network = build_network(space, architecture, seed=seed).to(memory_format=torch.channels_last)
    training = Training(network, settings, data, seed=seed)
    if file.exists():
        training.load_state_dict(torch.load(file, weights_only=True))
    while not training.done:
        training.step()
        if training.step_index % SAVE_EVERY == 0:
            with whole(file) as part:
                torch.save(training.state_dict(), part)
    training.finish()
    num_macs = count_cost(space, architecture)["num_macs"]
    trained = Trained(name, seed, costs.total(path), num_macs, training.evaluate("test").top1)
    write_whole(result, to_json(trained).encode())
    file.unlink(missing_ok=True)
    say(f"{name}, seed {seed}: {100 * trained.top1:.2f} %")
    return trained


def summary(trained: Sequence[Trained]) -> dict[str, Any]:
    """Return the spreads, and where the found network stands among the random ones.

    Differences are to be read against `spread_seeds`: standard deviation between trainings of the found network.
    """
    found = [one.top1 for one in trained if one.name == "found"]
    random = [one.top1 for one in trained if one.name != "found"]
    return {
        "spread_networks": statistics.stdev(random) if len(random) > 1 else None,
        "spread_seeds": statistics.stdev(found) if len(found) > 1 else None,
        "found_top1": statistics.fmean(found),
        "random_top1": statistics.fmean(random) if random else None,
        "best_random_top1": max(random, default=None),
        "num_random": len(random),
        "num_random_beaten": sum(top1 < statistics.fmean(found) for top1 in random),
    }


def main() -> int:
    """Run what is left and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standalone", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder with CIFAR-10 as Parquet")
    parser.add_argument("--tables", type=Path, required=True, help="folder of latency tables")
    parser.add_argument("--work", type=Path, default=Path("standalone-runs"))
    parser.add_argument("--space", default="mbconv-32px")
    parser.add_argument("--target", default="ort-cpu-1t")
    parser.add_argument("--arm", default="tiny-batch", choices=list(read_settings()["arms"]), help="of the warm-up")
    parser.add_argument("--warmup-epochs", type=float, default=2.0)
    parser.add_argument("--epochs", type=float, default=2.0, help="of each network that is trained alone")
    parser.add_argument("--networks", type=int, default=8, help="random ones")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of the found one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one line instead of many")
    parser.add_argument("--output", type=Path, help="also write the result, with version and settings, to this file")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    space = load_space(asked.space)
    costs = cost_table(space, load_target(asked.target), asked.tables)
    run = Run(asked.arm, asked.warmup_epochs, 0, asked.work / space.name, asked.space)
    data = MacroImages(asked.images, seed=0)
    networks = choose(run, data, costs, asked.networks)
    work = run.folder / costs.name / f"alone-e{asked.epochs:g}"
    wanted = [("found", networks.found, seed) for seed in range(asked.seeds)]
    wanted += [(f"random-{number}", path, 0) for number, path in enumerate(networks.random)]
    trained = []
    for name, path, seed in wanted:
        images = data if seed == 0 else MacroImages(asked.images, seed=seed)
        trained.append(train_alone(space, path, name, seed, asked.epochs, images, costs, work))
    report = {
        "space": asked.space,
        "target": asked.target,
        "budget_ms": networks.budget_ms,
        "epochs": {"warmup": asked.warmup_epochs, "alone": asked.epochs},
        **summary(trained),
        "networks": json.loads(to_json(trained)),
    }
    tell(report, asked.output, in_one_line=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(in_a_sentence(main))
