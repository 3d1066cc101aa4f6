"""How well numbers rank networks whose true accuracy is known. Pure functions of what was judged and of the truth."""

from collections.abc import Mapping, Sequence

from scipy.stats import kendalltau

from benchmarks.macro.truth import Truth
from supernet.pool import Judged, fit_losses
from supernet.space import Path


def ranking(judged: Sequence[Judged], truth: Mapping[Path, Truth], pool_size: int) -> dict[str, float | int]:
    """Return Kendall's tau of numbers against true accuracy, over all networks judged and over their upper half.

    The upper half are the networks whose true accuracy is at least the median. `tau_fitted` is that of an additive
    model of the first `pool_size` losses, on the networks that it has not seen.
    """
    model = fit_losses(judged[:pool_size], [3] * len(judged[0].path))
    found = {"num_networks": len(judged)}
    for name, numbers in {
        "": [-path.loss for path in judged],
        "_top1": [path.top1 for path in judged],
        "_macs": [truth[path.path].num_macs for path in judged],
        "_params": [truth[path.path].num_params for path in judged],
    }.items():
        found |= _taus(f"tau{name}", numbers, [truth[path.path].accuracy for path in judged])
    unseen = judged[pool_size:]
    if unseen:
        fitted = [-model.loss(path.path) for path in unseen]
        found |= _taus("tau_fitted", fitted, [truth[path.path].accuracy for path in unseen])
    return found


def _taus(name: str, numbers: Sequence[float], true: Sequence[float]) -> dict[str, float]:
    median = sorted(true)[len(true) // 2]
    upper = [(number, accuracy) for number, accuracy in zip(numbers, true, strict=True) if accuracy >= median]
    return {
        name: float(kendalltau(numbers, true).statistic),
        f"{name}_upper_half": float(kendalltau(*zip(*upper, strict=True)).statistic),
    }
