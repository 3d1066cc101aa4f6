"""How well numbers rank networks whose true accuracy is known. Pure functions of what was judged and of the truth."""

from collections.abc import Mapping, Sequence

from scipy.stats import kendalltau

from benchmarks.macro.truth import Truth
from supernet.space import Path


def ranking(losses: Mapping[Path, float], truth: Mapping[Path, Truth]) -> dict[str, float | int]:
    """Return Kendall's tau of judged losses, parameters and multiply-adds against true accuracy.

    The upper half are the networks whose true accuracy is at least the median of those judged.
    """
    paths = list(losses)
    true = [truth[path].accuracy for path in paths]
    median = sorted(true)[len(true) // 2]
    upper = [path for path, accuracy in zip(paths, true, strict=True) if accuracy >= median]
    best = [truth[path].accuracy for path in upper]
    return {
        "num_networks": len(paths),
        "tau": _tau([-losses[path] for path in paths], true),
        "tau_upper_half": _tau([-losses[path] for path in upper], best),
        "tau_macs": _tau([truth[path].num_macs for path in paths], true),
        "tau_macs_upper_half": _tau([truth[path].num_macs for path in upper], best),
        "tau_params": _tau([truth[path].num_params for path in paths], true),
    }


def _tau(numbers: Sequence[float], true: Sequence[float]) -> float:
    return float(kendalltau(numbers, true).statistic)
