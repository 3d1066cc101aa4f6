"""How well numbers rank networks whose true accuracy is known. Pure functions of what was judged and of the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import kendalltau

from benchmarks.macro.truth import Truth
from supernet.pool import Judged, fit_losses
from supernet.space import Path

NUM_BINS, FEWEST = 8, 8
"""Groups of about equal multiply-adds, and the fewest networks that are ranked."""

SUMMARY = ("tau", "tau_upper_half")


def ranking(judged: Sequence[Judged], truth: Mapping[Path, Truth], pool: Sequence[Judged]) -> dict[str, float | int]:
    """Return Kendall's tau of numbers against true accuracy, over all networks judged and over their upper half.

    The upper half are the networks whose true accuracy is at least the median. Names with `within_macs` are means
    over `NUM_BINS` groups of about equal multiply-adds: what is told beyond size. `tau` itself is of what derivation
    goes by, the additive model of a pool of judged paths; it never knows a network's own loss: what it was fitted to
    is predicted by the others.
    """
    model = fit_losses(pool, [3] * len(judged[0].path))
    left_out = {found.path: loss for found, loss in zip(pool, model.left_out, strict=True)}
    predicted = [left_out.get(found.path, model.loss(found.path)) for found in judged]
    true = [truth[found.path] for found in judged]
    kinds: dict[str, list[float]] = {
        "tau": [-loss for loss in predicted],
        "tau_loss": [-found.loss for found in judged],
        "tau_top1": [found.top1 for found in judged],
        "tau_macs": [entry.num_macs for entry in true],
        "tau_params": [entry.num_params for entry in true],
    }
    taus: dict[str, float | int] = {"num_networks": len(judged)}
    for name, numbers in kinds.items():
        taus |= _taus(name, numbers, true)
    return taus


def mean_ranking(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means over the seeds of the first arm's longest warm-up, how many those are, and all rows beneath."""
    longest = max(row["epochs"] for row in rows)
    first = [row for row in rows if (row["arm"], row["epochs"]) == (rows[0]["arm"], longest)]
    means = {name: sum(row[name] for row in first) / len(first) for name in SUMMARY}
    about = {"arm": rows[0]["arm"], "epochs": longest, "num_networks": rows[0]["num_networks"]}
    return {**means, **about, "seeds": len(first), "each": list(rows)}


def _taus(name: str, numbers: Sequence[float], true: Sequence[Truth]) -> dict[str, float]:
    accuracies = [entry.accuracy for entry in true]
    median = sorted(accuracies)[len(accuracies) // 2]
    by_size = sorted(range(len(true)), key=lambda i: true[i].num_macs)
    bins = [by_size[len(true) * i // NUM_BINS : len(true) * (i + 1) // NUM_BINS] for i in range(NUM_BINS)]

    def tau(chosen: Sequence[int]) -> float:
        return float(kendalltau([numbers[i] for i in chosen], [accuracies[i] for i in chosen]).statistic)

    found = {
        name: tau(range(len(true))),
        f"{name}_upper_half": tau([i for i, accuracy in enumerate(accuracies) if accuracy >= median]),
    }
    if len(true) >= NUM_BINS * FEWEST:
        found[f"{name}_within_macs"] = sum(map(tau, bins)) / NUM_BINS
    return found
