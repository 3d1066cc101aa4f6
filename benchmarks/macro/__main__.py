"""Compares supernets on NAS-Bench-Macro, in stages that run apart and go on after a kill.

`counts` compares parameters and multiply-adds of all 6,561 networks with the table's; `ranking` trains a supernet per
arm of `arms.yaml` and seed, judges networks on its weights, and says how well that ranks them by true accuracy.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.macro.images import MacroImages
from benchmarks.macro.judging import judge
from benchmarks.macro.ranking import ranking
from benchmarks.macro.supernets import SPACE, Run, read_arms, train
from benchmarks.macro.truth import Truth, read_truth
from supernet.cost import macs_table, params_table
from supernet.presets import load_space
from supernet.space import Path as Choices

STAGES = ("counts", "ranking")


def say(text: str) -> None:
    """Print progress, apart from the result."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def counts(truth: dict[Choices, Truth]) -> dict[str, int]:
    """Return how many networks have the table's parameters and multiply-adds."""
    space = load_space(SPACE)
    params, macs = params_table(space), macs_table(space)
    equal = sum(
        (params.total(path), macs.total(path)) == (entry.num_params, entry.num_macs) for path, entry in truth.items()
    )
    return {"equal": equal, "num_networks": len(truth)}


def rank(run: Run, data: MacroImages, asked: argparse.Namespace) -> dict[str, object]:
    """Train, judge, then compare with the truth, which is read last."""
    supernet = train(run, data, say)
    losses = judge(run, supernet, data, asked.networks, say)
    found = ranking(losses, read_truth(asked.truth))
    return {"arm": run.arm, "epochs": run.epochs, "seed": run.seed, **found}


def main() -> int:
    """Run the stages asked for and print what was found."""
    arms = [name for name in read_arms() if name != "base"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.macro", description=__doc__)
    parser.add_argument("--truth", type=Path, required=True, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--images", type=Path, help="folder with CIFAR-10 as Parquet; `ranking` needs it")
    parser.add_argument("--work", type=Path, default=Path("macro-runs"), help="where supernets are kept")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms)
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0")
    parser.add_argument("--networks", type=int, default=600, help="distinct ones that are judged, of 3,969")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one line instead of many")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report: dict[str, object] = {}
    if "counts" in asked.stages:
        report["counts"] = counts(read_truth(asked.truth))
    if "ranking" in asked.stages:
        if asked.images is None:
            parser.error("--images: needed by stage ranking")
        report["ranking"] = [
            rank(Run(arm, asked.epochs, seed, asked.work), MacroImages(asked.images, seed=seed), asked)
            for seed in range(asked.seeds)
            for arm in asked.arms
        ]
    print(json.dumps(report, indent=None if asked.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
