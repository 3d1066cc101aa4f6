"""What a step keeps in memory: per estimator, for all paths at once, and as the candidates of a space double.

    python -m benchmarks.memory --json
    python -m benchmarks.memory --json --device cuda --batch 128 --precision bf16

Saved bytes are the storages that autograd holds for the backward pass, each once, parameters and buffers
excluded. Peak is the most memory a step had at once above what was there before: on CUDA by the allocator, on a
CPU as resident memory of a process of its own. Counted is what a sweep's forecast says of the same step.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import batch_of, environment, parser, report, wanted
from orchestrator.plan.activations import arch_step_bytes, weight_step_bytes
from supernet.cost import macs_table
from supernet.estimators import EstimatorName, make_estimator
from supernet.gates import ArchitectureParameters
from supernet.network import MixedLayer, Supernet, build_network
from supernet.objective import ObjectiveSettings, make_objective
from supernet.presets import load_space
from supernet.rng import generator
from supernet.space import Path, Space
from supernet.training import precision_context, resolved

MIB = 2**20
ESTIMATORS: tuple[EstimatorName, ...] = get_args(EstimatorName)
KINDS = ("standalone", "weight step", "weight step, recompute", *ESTIMATORS, "all paths")


def all_paths(supernet: Supernet, x: Tensor, probs: Sequence[Tensor]) -> Tensor:
    """Run all candidates of a supernet and mix them by `probs` (DARTS): the memory that sampling paths avoids.

    Args:
        supernet: That holds them.
        x: Images, shape (N, C, H, W).
        probs: One tensor per position, shape (num_candidates,).
    """
    certain = torch.ones(1, dtype=x.dtype, device=x.device)
    for layer, (_, p) in zip(supernet.layers, supernet.space.along(probs, certain), strict=True):
        assert isinstance(layer, MixedLayer)
        y = torch.stack([p[i] * layer.run(x, i) for i in layer.living()]).sum(0)
        x = x + y if layer.residual else y
    return x


class Bench:
    """One supernet on one device, and the steps that are measured on it."""

    def __init__(self, args: argparse.Namespace, space: Space) -> None:
        self.space, self.device, self.precision, self.seed = space, torch.device(args.device), args.precision, args.seed
        self.images, self.labels = batch_of(space, args.batch, self.device, args.seed)
        self.supernet = Supernet(space, seed=args.seed).to(self.device).train()
        self.alpha = ArchitectureParameters(space, generator(args.seed, "alpha"))
        self.costs = macs_table(space)

    def path(self, number: int) -> Path:
        """Return a random path; over 42 numbers in a row every candidate of 6 or 7 stands equally often."""
        orders = [torch.randperm(42, generator=generator(self.seed, i)) for i in range(len(self.space.positions))]
        counts = [len(position.candidates) for position in self.space.positions]
        return tuple(int(order[number % 42]) % count for order, count in zip(orders, counts, strict=True))

    def standalone(self, path: Path) -> nn.Module:
        """Return the network of a path, on the device, to be trained."""
        network = build_network(self.space, self.space.architecture(path), seed=self.seed).train()
        return network.to(self.device).to(memory_format=torch.channels_last)

    def loss(self, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the loss of a weight step; `run` maps images to logits."""
        with precision_context(self.precision, self.device):
            return F.cross_entropy(run(self.images), self.labels, label_smoothing=0.1)

    def path_loss(self, path: Path, *, recompute: bool = False) -> Tensor:
        """Return the loss of a weight step of the supernet."""
        self.supernet.recompute = recompute
        return self.loss(lambda x: self.supernet(x, path))

    def all_paths_loss(self) -> Tensor:
        """Return the loss of all candidates mixed by their probabilities."""
        probs = [
            row[: len(position.candidates)].float().to(self.device).detach().requires_grad_()
            for row, position in zip(self.alpha.probs(), self.space.positions, strict=True)
        ]
        return self.loss(lambda x: all_paths(self.supernet, x, probs))

    def arch_step(self, estimator: EstimatorName, number: int) -> None:
        """Form alpha's gradient once, on the paths of this number."""
        self.supernet.recompute = False
        objective = make_objective(ObjectiveSettings(kind="add_linear", reference=self.costs.maximum), self.costs)
        draws = generator(self.seed, "arch", number)
        with precision_context(self.precision, self.device):
            make_estimator(estimator).gradient(
                self.supernet, self.alpha, self.images, self.labels, self.costs, objective, draws
            )

    def step(self, kind: str, number: int) -> Callable[[], None]:
        """Return one whole step of a kind, forward and backward, on the path of this number."""
        path, network = self.path(number), self.standalone(self.path(number))
        losses = {
            "standalone": lambda: self.loss(network),
            "weight step": lambda: self.path_loss(path),
            "weight step, recompute": lambda: self.path_loss(path, recompute=True),
            "all paths": self.all_paths_loss,
        }

        arch_steps: dict[str, Callable[[], None]] = {name: partial(self.arch_step, name, number) for name in ESTIMATORS}

        def run() -> None:
            if kind in arch_steps:
                arch_steps[kind]()
            else:
                losses[kind]().backward()  # type: ignore[no-untyped-call]
            for module in (self.supernet, network):
                module.zero_grad()

        return run


def saved_mib(run: Callable[[], object], module: nn.Module) -> float:
    """Return the MiB that autograd keeps for the backward pass of `run`, parameters and buffers of `module` aside."""
    known = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            storages[storage._cdata] = storage.nbytes()
        return tensor.detach()  # the tensor itself would make a cycle with its node

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = run()
    del kept
    return sum(storages.values()) / MIB


def saved_on_path(bench: Bench, path: Path) -> dict[str, float]:
    """Return saved MiB of the kinds of weight step on a path."""
    supernet, network = bench.supernet, bench.standalone(path)
    return {
        "standalone": saved_mib(lambda: bench.loss(network), network),
        "weight step": saved_mib(lambda: bench.path_loss(path), supernet),
        "weight step, recompute": saved_mib(lambda: bench.path_loss(path, recompute=True), supernet),
    }


def arch_to_weight(bench: Bench, estimator: EstimatorName, count: int) -> float:
    """Return what an architecture step keeps, as a multiple of a weight step on the same path; mean of `count`."""
    paths: list[Path] = []
    watch = bench.supernet.register_forward_pre_hook(lambda module, args: paths.append(args[1]))
    ratios = []
    for number in range(count):
        kept = saved_mib(partial(bench.arch_step, estimator, number), bench.supernet)
        ratios.append(kept / saved_mib(lambda: bench.path_loss(paths[-1]), bench.supernet))
    watch.remove()
    return statistics.mean(ratios)


def saved_by_all_paths(args: argparse.Namespace) -> float:
    """Return saved MiB of all paths at once, from at most 8 images: what is saved grows with the images."""
    few = argparse.Namespace(**{**vars(args), "batch": min(8, args.batch)})
    bench = Bench(few, load_space(args.space))
    times: float = args.batch / few.batch
    return saved_mib(bench.all_paths_loss, bench.supernet) * times


def doubled(args: argparse.Namespace, times: int, num_paths: int) -> tuple[float, float]:
    """Return saved MiB of one path (mean) and of all, with the candidates doubled `times` times; one image.

    Zero is left out, so that the share of skips does not change; more candidates are larger kernels, which keep
    feature maps of the same size.
    """
    base = load_space(args.space).to_dict()
    kernels = [3 + 2 * i for i in range(3 * 2**times)]
    candidates = [{"op": "mbconv", "kernel_size": kernels, "expand_ratio": [3, 6]}]
    wide = {"skip": False, "residual": True, "candidates": candidates}
    rows = [{**row, **wide} if row["skip"] else row for row in base["rows"]]
    space = load_space({**base, "name": f"{base['name']}-x{2**times}", "rows": rows})
    bench = Bench(argparse.Namespace(device="cpu", precision="fp32", batch=1, seed=args.seed), space)
    one = []
    for number in range(num_paths):  # whatever the kernels are, path `number` has the same expansions
        draws, size = generator(args.seed, "expansions", number), (len(space.positions),)
        expansions = torch.randint(2, size, generator=draws)
        path = torch.randint(len(kernels), size, generator=draws) * 2 + expansions
        one.append(saved_mib(partial(bench.path_loss, tuple(path.tolist())), bench.supernet))
    return statistics.mean(one), saved_mib(bench.all_paths_loss, bench.supernet)


def peak_mib(args: argparse.Namespace, kind: str, number: int) -> float | None:
    """Return the peak of one step above what was in memory before it; None where it does not fit."""
    step = Bench(args, load_space(args.space)).step(kind, number)
    if torch.device(args.device).type == "cuda":
        try:
            return _cuda_peak(step)
        except torch.OutOfMemoryError:
            return None
    # A tiny step first: code and threads are there before the measurement.
    Bench(argparse.Namespace(**{**vars(args), "batch": 1}), load_space("digits")).step(kind, 0)()
    FilePath("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before


def _cuda_peak(step: Callable[[], None]) -> float:
    step()  # libraries take their workspaces once
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def _resident(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", FilePath("/proc/self/status").read_text())
    assert found
    return int(found.group(1)) / 1024


def peak_in_child(args: argparse.Namespace, kind: str, number: int) -> float | None:
    """Return `peak_mib` from a process of its own that gives freed memory back at once."""
    options = {"--device": args.device, "--batch": args.batch, "--precision": args.precision, "--space": args.space}
    options |= {"--threads": args.threads, "--seed": args.seed, "--child": kind, "--path": number}
    command = [sys.executable, "-m", "benchmarks.memory", *(str(part) for pair in options.items() for part in pair)]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    peak: float | None = json.loads(done.stdout)
    return peak


def counted_mib(args: argparse.Namespace, path: Path) -> dict[str, float]:
    """Return what the forecast of a sweep says of the steps on a path."""
    supernet = Supernet(load_space(args.space)).train()
    used = resolved(args.precision, torch.device(args.device))
    counted = {
        "weight step": weight_step_bytes(supernet, path, args.batch, used),
        "weight step, recompute": weight_step_bytes(supernet, path, args.batch, used, recompute=True),
        "one-path": arch_step_bytes(supernet, path, args.batch, used),
        "reinforce": arch_step_bytes(supernet, path, args.batch, used, graph=False),
    }
    return {kind: round(size / MIB, 1) for kind, size in counted.items()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return everything that this benchmark measures."""
    bench = Bench(args, load_space(args.space))
    each = [saved_on_path(bench, bench.path(number)) for number in range(args.paths)]
    mean = {kind: statistics.mean(saved[kind] for saved in each) for kind in each[0]}
    mean["all paths"] = saved_by_all_paths(args)
    arch = {name: arch_to_weight(bench, name, 4) for name in ESTIMATORS}
    typical = min(range(args.paths), key=lambda n: abs(each[n]["weight step"] - mean["weight step"]))
    path = bench.path(typical)
    del bench
    peak = {kind: peak_in_child(args, kind, typical) for kind in KINDS}
    growth = {6 * 2**times: doubled(args, times, 4) for times in range(3)}
    one, every = zip(*growth.values(), strict=True)
    less = "weight step, recompute"
    everything, least = peak["all paths"], peak[less]
    return {
        "environment": environment(args),
        "saved_mib": {kind: round(value, 2) for kind, value in mean.items()},
        "saved_by_architecture_step_to_weight_step": {name: round(value, 4) for name, value in arch.items()},
        "peak_mib": {kind: "does not fit" if value is None else round(value, 1) for kind, value in peak.items()},
        "counted_mib": counted_mib(args, path),
        "saved_mib_by_candidates": {
            str(n): {"one path": round(a, 2), "all paths": round(b, 2)} for n, (a, b) in growth.items()
        },
        "promises": {
            "weight step / its standalone network (worst path)": wanted(
                max(saved["weight step"] / saved["standalone"] for saved in each), 1.05, most=True
            ),
            "all paths / one path (mean)": wanted(mean["all paths"] / mean["weight step"], 5.5, most=False),
            "one path, 6 to 24 candidates": wanted(max(one) / min(one), 1.03, most=True),
            "all paths, 6 to 24 candidates": wanted(every[2] / every[0], 3.5, most=False),
            "all paths / recompute, saved": wanted(mean["all paths"] / mean[less], 10, most=False),
            "all paths / recompute, peak": wanted(everything / least, 10, most=False)
            if everything and least
            else "does not fit",
        },
    }


def main() -> None:
    """Measure and print."""
    found = parser(__doc__ or "", batch=2)
    found.add_argument("--paths", type=int, default=42, help="random paths in the means (default: 42)")
    found.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    found.add_argument("--path", type=int, default=0, help=argparse.SUPPRESS)
    args = found.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        print(json.dumps(peak_mib(args, args.child, args.path)))
    else:
        report(measure(args), as_json=args.json)


if __name__ == "__main__":
    main()
