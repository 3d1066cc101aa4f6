"""How far a sweep's shared weights can be trusted: do they rank its finished networks, and did searching beat chance?

Made from results alone, so that it can be said again long after the sweep. It must not know how paths are judged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import atanh, sqrt, tanh
from statistics import fmean

from orchestrator.plan.result import Z95, TrialResult

MIN_NETWORKS = 5
"""Below this many networks there is no interval, and a rank correlation says nothing."""


@dataclass(frozen=True)
class Trust:
    """What the finished networks of a sweep say about the supernet that they were derived from.

    Attributes:
        num_networks: Different architectures behind `tau`.
        tau: Kendall's tau between the loss on shared weights (negative) and the accuracy of the trained network in
            fp32, whatever file is delivered of it; 1 where the shared weights rank all networks rightly. None where it
            says nothing.
        tau_interval: Its 95 % interval.
        num_trials: Trials with random paths of their budget beside them.
        num_better: Those whose network has a lower loss on shared weights than the best of the random paths.
        num_random: Random paths of a trial, on average.
    """

    num_networks: int
    tau: float | None
    tau_interval: tuple[float, float] | None
    num_trials: int
    num_better: int
    num_random: float

    @property
    def sentences(self) -> list[str]:
        """The same in words."""
        said = [self._ranking()]
        if self.num_trials:
            said.append(
                f"chance: in {self.num_better} of {self.num_trials} trials the network found has a lower loss on "
                f"shared weights than the best of {self.num_random:.0f} random paths of its budget"
            )
        return said

    def _ranking(self) -> str:
        if not self.num_networks:
            return "trust: no finished networks share weights, so nothing says how these rank them"
        rests = f"rests on {self.num_networks} different network{'s' * (self.num_networks != 1)}"
        if self.tau is None or self.tau_interval is None:
            return f"trust: whether shared weights rank networks rightly {rests}: says nothing yet"
        low, high = self.tau_interval
        if low > 0:
            verdict = "shared weights rank the finished networks better than chance"
        elif high < 0:
            verdict = "shared weights rank the finished networks the wrong way round: train the supernet longer"
        else:
            verdict = "that shared weights rank the finished networks better than chance is not shown"
        return f"trust: {verdict} (Kendall's tau {self.tau:.2f}, {low:.2f} to {high:.2f}; {rests})"


def trust_of(results: Iterable[TrialResult], *, shared: bool) -> Trust:
    """Return what results say about shared weights.

    Args:
        results: Of one sweep. Equal architectures count once, with the mean of their accuracies.
        shared: Whether all trials were derived from one supernet. Losses on different weights do not compare, so there
            is no tau otherwise.
    """
    done = [result for result in results if result.done and result.shared_loss is not None]
    accuracies: dict[str, list[float]] = {}
    losses: dict[str, float] = {}
    for result in done:
        if shared and result.trained_top1 is not None and result.shared_loss is not None:
            accuracies.setdefault(result.architecture, []).append(result.trained_top1)
            losses[result.architecture] = result.shared_loss
    tau, interval = _tau([-losses[name] for name in accuracies], [fmean(top1s) for top1s in accuracies.values()])
    pairs = [(r.shared_loss, r.random_loss) for r in done if r.shared_loss is not None and r.random_loss is not None]
    return Trust(
        num_networks=len(accuracies),
        tau=tau,
        tau_interval=interval,
        num_trials=len(pairs),
        num_better=sum(found < random for found, random in pairs),
        num_random=fmean([r.num_random or 0 for r in done if r.random_loss is not None]) if pairs else 0.0,
    )


def _tau(first: Sequence[float], second: Sequence[float]) -> tuple[float | None, tuple[float, float] | None]:
    """Return Kendall's tau and its 95 % interval, none where there are too few or all are equal.

    Source: Fieller, Hartley and Pearson 1957, the variance of Fisher's z of tau is 0.437 / (n - 4). Differs: where all
    pairs agree, half a pair is taken not to, or the interval would have no length.
    """
    from scipy.stats import kendalltau

    number = len(first)
    if number < MIN_NETWORKS or len(set(first)) == 1 or len(set(second)) == 1:
        return None, None
    tau = float(kendalltau(first, second).statistic)
    most = 1 - 2 / (number * (number - 1))
    z, spread = atanh(min(max(tau, -most), most)), Z95 * sqrt(0.437 / (number - 4))
    return tau, (tanh(z - spread), tanh(z + spread))
