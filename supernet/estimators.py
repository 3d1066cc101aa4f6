"""The three estimators of alpha's gradient behind one interface: `one-path`, `two-path`, `reinforce`.

Why here: they differ in what they sample, recompute and promise, and in nothing else: a new one is a class and its
name, here. Each runs one batch through the supernet, forms the objective, and returns the gradient of the logits; it
changes no weight, no statistic and no logit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.cost import CostTable
from supernet.errors import InputError, nearest
from supernet.gates import ArchitectureParameters, GradientGate, sample_candidates, sample_path
from supernet.network import Supernet
from supernet.objective import Objective
from supernet.ops import frozen_statistics

EstimatorName = Literal["one-path", "two-path", "reinforce"]


@dataclass(frozen=True)
class ArchitectureGradient:
    """What one architecture step found.

    Attributes:
        logits: Gradient of the logits, shape (num_positions, max_candidates), float64, CPU.
        cross_entropy: Mean over the batch (and over paths), scalar on the network's device, no graph.
    """

    logits: Tensor
    cross_entropy: Tensor


class Estimator:
    """An estimator of the gradient of the objective with respect to alpha.

    Attributes:
        backward: Whether its gradient comes back through the network: what a step must hold in memory.
    """

    backward = True

    def gradient(
        self,
        supernet: Supernet,
        alpha: ArchitectureParameters,
        images: Tensor,
        labels: Tensor,
        costs: CostTable,
        objective: Objective,
        generator: torch.Generator,
    ) -> ArchitectureGradient:
        """Return the gradient for one batch: images (N, C, H, W), labels (N,)."""
        raise NotImplementedError

    def settle(self, before: Tensor, logits: Tensor, grad: Tensor) -> None:
        """Correct the logits in place after the optimiser's step, where the estimator promises more than a gradient.

        Args:
            before: Logits before the step, shape (num_positions, max_candidates).
            logits: Logits after it.
            grad: The gradient that was stepped along, mean over all ranks.
        """


class PathEstimator(Estimator):
    """One or two candidates per position in the comparison; one of them in the graph.

    With `num_compared` None (`one-path`): a path is drawn from p and all other living candidates are
    recomputed without a graph. Given the drawn path, the result is exactly eq. 4; over draws it is an
    unbiased estimate of eq. 4's expectation under p. It is not the gradient of the expected loss: eq. 4
    substitutes dL/dg for dL/dp. The expected cost is exact.

    With `num_compared` 2 (`two-path`): two candidates are drawn from p without replacement, one of them
    from their two-way softmax q; only these two logits get a gradient, by eq. 4 with q in place of p, and
    the cost term uses q as well. Unbiased for that expectation over pairs and draws.

    Source: Cai et al. 2019, section 3.2 and appendix D. Differs: Zero takes part like any other candidate,
    sampled or not, and batch-norm statistics are left alone.
    """

    def __init__(self, num_compared: int | None) -> None:
        self.num_compared = num_compared

    def gradient(
        self,
        supernet: Supernet,
        alpha: ArchitectureParameters,
        images: Tensor,
        labels: Tensor,
        costs: CostTable,
        objective: Objective,
        generator: torch.Generator,
    ) -> ArchitectureGradient:
        """See `Estimator.gradient`."""
        probs = alpha.probs()
        if self.num_compared is None:
            compared = [tuple(row.nonzero().flatten().tolist()) for row in alpha.alive]
        else:
            compared = sample_candidates(probs, generator, self.num_compared)
            chosen = torch.zeros_like(alpha.alive)
            for row, candidates in zip(chosen, compared, strict=True):
                row[list(candidates)] = True
            probs = torch.softmax(alpha.logits.masked_fill(~chosen, -torch.inf), dim=1)
        path = sample_path(probs, generator)
        dtype = torch.promote_types(images.dtype, torch.float32)
        rows = probs.to(images.device, dtype, non_blocking=True).unbind(0)
        gates = [GradientGate(row, candidates) for row, candidates in zip(rows, compared, strict=True)]
        with frozen_statistics(supernet):
            cross_entropy = F.cross_entropy(supernet(images, path, gates), labels)
            loss = objective.with_limits(objective(cross_entropy, costs.expected(probs)), probs)
            (grad,) = torch.autograd.grad(loss, [alpha.logits])
        return ArchitectureGradient(grad, cross_entropy.detach())

    def settle(self, before: Tensor, logits: Tensor, grad: Tensor) -> None:
        """With pairs: candidates outside the pair keep their probabilities."""
        if self.num_compared is not None:
            keep_other_probabilities(before, logits, grad != 0)


class Reinforce(Estimator):
    """Score-function estimator over `num_samples` whole paths; no graph through the network at all.

    Unbiased for the gradient of objective(E_p[cross-entropy], E_p[cost]) wherever the objective is linear in
    the cross-entropy. Each path's baseline is the mean loss of the other paths of the same batch, which keeps
    the estimate unbiased and needs no memory.

    Source: Cai et al. 2019, section 3.3.1. Differs: the released baseline forgets its past within one step
    and contains the sample it judges; the cost term is exact instead of sampled.
    """

    backward = False

    def __init__(self, num_samples: int) -> None:
        if num_samples < 2:
            raise InputError(f"num_samples: {num_samples}; reinforce needs at least 2 paths for its baseline")
        self.num_samples = num_samples

    def gradient(
        self,
        supernet: Supernet,
        alpha: ArchitectureParameters,
        images: Tensor,
        labels: Tensor,
        costs: CostTable,
        objective: Objective,
        generator: torch.Generator,
    ) -> ArchitectureGradient:
        """See `Estimator.gradient`."""
        probs = alpha.probs()
        paths = [sample_path(probs, generator) for _ in range(self.num_samples)]
        with torch.no_grad(), frozen_statistics(supernet):
            losses = torch.stack([F.cross_entropy(supernet(images, path), labels) for path in paths])
        values = losses.to("cpu", torch.float64)
        advantages = values - (values.sum() - values) / (self.num_samples - 1)
        rows = torch.arange(probs.shape[0])
        log_probs = torch.stack([probs[rows, torch.tensor(path)].log().sum() for path in paths])
        score = (advantages * log_probs).mean()
        value = objective(values.mean() + score - score.detach(), costs.expected(probs))
        loss = objective.with_limits(value, probs)
        (grad,) = torch.autograd.grad(loss, [alpha.logits])
        return ArchitectureGradient(grad, losses.mean())


ESTIMATORS: dict[EstimatorName, Callable[[int], Estimator]] = {
    "one-path": lambda num_samples: PathEstimator(None),
    "two-path": lambda num_samples: PathEstimator(2),
    "reinforce": Reinforce,
}


def make_estimator(name: EstimatorName, num_samples: int = 10) -> Estimator:
    """Return the estimator of a name; `num_samples` is the number of paths of those that draw whole paths.

    Raises:
        InputError: If there is none of that name, or too few paths for a baseline.
    """
    if name not in ESTIMATORS:
        raise InputError(f"estimator: unknown name {name!r}{nearest(name, ESTIMATORS)}")
    return ESTIMATORS[name](num_samples)


def keep_other_probabilities(before: Tensor, logits: Tensor, touched: Tensor) -> None:
    """Shift the touched logits of each position so that the untouched candidates keep their probabilities.

    After a step that moved only some logits of a position, the sum of their exponentials is restored.

    Args:
        before: Logits before the step, shape (num_positions, max_candidates).
        logits: Logits after the step, changed in place.
        touched: Which logits the step moved, bool, same shape.

    Source: Cai et al. 2019, section 3.2.1; the ratio multiplies exp(alpha), as in the released code.
    """
    with torch.no_grad():
        hidden = -torch.inf
        old = torch.logsumexp(before.masked_fill(~touched, hidden), dim=1, keepdim=True)
        new = torch.logsumexp(logits.masked_fill(~touched, hidden), dim=1, keepdim=True)
        logits.copy_(torch.where(touched, logits - (new - old), logits))
