"""How well numbers rank networks whose true accuracy is known. Pure functions of what was judged and of the truth."""

from collections.abc import Mapping, Sequence

from scipy.stats import kendalltau

from benchmarks.macro.truth import Truth
from supernet.pool import Judged, fit_losses
from supernet.space import Path

NUM_BINS, FEWEST = 8, 8
"""Groups of about equal multiply-adds, and the fewest networks that are ranked."""


def ranking(judged: Sequence[Judged], truth: Mapping[Path, Truth], pool_size: int) -> dict[str, float | int]:
    """Return Kendall's tau of numbers against true accuracy, over all networks judged and over their upper half.

    The upper half are the networks whose true accuracy is at least the median. `tau_within_macs` is the mean over
    `NUM_BINS` groups of about equal multiply-adds: what is told beyond size. `tau_left_out` is that of the additive
    model of the first `pool_size` losses, each predicted by all the others, and `tau_fitted` that of the same model on
    the networks that it has not seen.
    """
    model = fit_losses(judged[:pool_size], [3] * len(judged[0].path))
    unseen = judged[pool_size:]
    kinds: dict[str, tuple[Sequence[Judged], list[float]]] = {
        "tau": (judged, [-found.loss for found in judged]),
        "tau_top1": (judged, [found.top1 for found in judged]),
        "tau_macs": (judged, [truth[found.path].num_macs for found in judged]),
        "tau_params": (judged, [truth[found.path].num_params for found in judged]),
        "tau_left_out": (judged[:pool_size], [-loss for loss in model.left_out]),
        "tau_fitted": (unseen, [-model.loss(found.path) for found in unseen]),
    }
    taus: dict[str, float | int] = {"num_networks": len(judged)}
    for name, (networks, numbers) in kinds.items():
        if len(networks) >= FEWEST:
            taus |= _taus(name, numbers, [truth[found.path] for found in networks])
    return taus


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
