"""Compares supernets and searches on NAS-Bench-Macro, in stages that run apart and go on after a kill.

`counts` compares parameters and multiply-adds of all 6,561 networks with the table's. The others train a supernet per
arm of `settings.yaml` and seed: `ranking` judges networks on its weights, and says how well that ranks them by true
accuracy; `found` searches it under budgets, and says how good what is found is; `cost` says what that took.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import in_a_sentence, say
from benchmarks.macro.finding import Found, Pool, fill_pool, find, stored_pool
from benchmarks.macro.images import MacroImages
from benchmarks.macro.judging import has_own, judge, judge_of
from benchmarks.macro.plots import draw_epochs, draw_found
from benchmarks.macro.ranking import FEWEST, mean_ranking, ranking
from benchmarks.macro.results import tell
from benchmarks.macro.supernets import SPACE, Run, read_settings, spent, spent_on_statistics, train
from benchmarks.macro.truth import Truth, read_truth
from supernet.cost import macs_table, params_table
from supernet.estimators import ESTIMATORS
from supernet.presets import load_space
from supernet.space import Path as Choices

STAGES = ("counts", "ranking", "found", "cost")


def counts(truth: Mapping[Choices, Truth]) -> dict[str, int]:
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
    own = has_own(run, data)
    judged = judge(run, supernet, data, asked.networks, say, own=own)
    kinds = {"own_statistics": True, "shared_statistics": False} if asked.both_statistics else {}
    both = {name: judge(run, supernet, data, asked.both_statistics, say, own=kind) for name, kind in kinds.items()}
    pool, truth = fill_pool(run, supernet, judge_of(supernet, data, own=own)), read_truth(asked.truth)
    found: dict[str, object] = {**_named(run), **ranking(judged, truth, pool.judged)}
    for name, others in both.items():  # the pool knows one kind only: each is predicted by the others
        found[name] = ranking(others, truth, others)
    return found


def search(run: Run, data: MacroImages, asked: argparse.Namespace) -> list[dict[str, object]]:
    """Train, search under all budgets, then look up what was found."""
    budgets = [budget * 1e6 for budget in asked.budgets]
    found = find(run, train(run, data, say), data, budgets, asked.estimators, say)
    truth = read_truth(asked.truth)
    return [_looked_up(run, one, truth) for one in found]


def _named(run: Run) -> dict[str, object]:
    return {"arm": run.arm, "epochs": run.epochs, "seed": run.seed}


def _looked_up(run: Run, found: Found, truth: Mapping[Choices, Truth]) -> dict[str, object]:
    true = {"true_accuracy": truth[found.path].accuracy, "within_budget": found.num_macs <= found.budget}
    plain = {key: value for key, value in asdict(found).items() if key != "seconds"}
    return {**_named(run), "budget_macs": plain.pop("budget"), **plain, **true}


def cost(run: Run, data: MacroImages, asked: argparse.Namespace) -> dict[str, object]:
    """Return what a further budget takes, as shares of the warm-up's CPU seconds."""
    budgets = [budget * 1e6 for budget in asked.budgets]
    found = find(run, train(run, data, say), data, budgets, asked.estimators, say)
    pool: Pool = stored_pool(run)
    warmup = spent(run)
    kinds = sorted({(one.estimator, one.derivation) for one in found})
    mean = {
        f"{estimator}, {derivation}": sum(seconds) / len(seconds) / warmup
        for estimator, derivation in kinds
        if (seconds := [one.seconds for one in found if (one.estimator, one.derivation) == (estimator, derivation)])
    }
    once = {"pool": pool.seconds / warmup, "shared_statistics": spent_on_statistics(run) / warmup}
    return {**_named(run), "warmup_cpu_seconds": warmup, **once, "further_budget": mean}


def main() -> int:
    """Run the stages asked for and print what was found."""
    arms = list(read_settings()["arms"])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.macro", description=__doc__)
    parser.add_argument("--truth", type=Path, required=True, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--images", type=Path, help="folder with CIFAR-10 as Parquet; all stages but `counts` need it")
    parser.add_argument("--work", type=Path, default=Path("macro-runs"), help="where supernets are kept")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms[:1])
    parser.add_argument("--epochs", nargs="+", type=float, default=[4.0], help="of the warm-up; several for a curve")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=600, help="distinct ones that are judged, of 3,969")
    parser.add_argument(
        "--both-statistics",
        type=int,
        default=0,
        help="networks judged twice besides: each with batch norm refitted for itself, and by what all share",
    )
    parser.add_argument("--budgets", nargs="+", type=float, default=[40, 50, 60, 70], help="millions of multiply-adds")
    parser.add_argument("--estimators", nargs="*", choices=list(ESTIMATORS), default=["one-path"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one line instead of many")
    parser.add_argument("--output", type=Path, help="also write the result, with version and settings, to this file")
    parser.add_argument("--png", type=Path, help="draw what was found into this file")
    parser.add_argument("--curve", type=Path, help="draw how well supernets rank, over their epochs, into this file")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report: dict[str, Any] = {}
    if "counts" in asked.stages:
        report["counts"] = counts(read_truth(asked.truth))
    for option, number in (("--networks", asked.networks), ("--both-statistics", asked.both_statistics or FEWEST)):
        if number < FEWEST:
            parser.error(f"{option} {number}: a ranking needs at least {FEWEST} networks")
    if set(asked.stages) - {"counts"} and asked.images is None:
        parser.error(f"--images: needed by {', '.join(stage for stage in asked.stages if stage != 'counts')}")
    for stage, run_stage in (("ranking", rank), ("found", search), ("cost", cost)):
        if stage in asked.stages:
            rows: list[dict[str, object]] = []
            for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
                data = MacroImages(asked.images, seed=seed)
                for arm, epochs in itertools.product(asked.arms, asked.epochs):
                    row = run_stage(Run(arm, epochs, seed, asked.work), data, asked)
                    rows += row if isinstance(row, list) else [row]
            report[stage] = mean_ranking(rows) if stage == "ranking" else rows
    if asked.png and "found" in report:
        draw_found(report["found"], read_truth(asked.truth), asked.png)
    if asked.curve and "ranking" in report:
        draw_epochs(report["ranking"]["each"], asked.curve)
    tell(report, asked.output, in_one_line=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(in_a_sentence(main))
