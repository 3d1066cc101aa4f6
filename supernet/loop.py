"""One search as a resumable step machine: weight steps on sampled paths, architecture steps in between.

Why here: everything the method does per step stands in `Search.step`. It knows nothing of clusters, files or
progress bars: data, ranks and costs are passed in, and what must survive a crash is in `state_dict`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from supernet.cost import CostTable
from supernet.errors import InputError
from supernet.estimators import make_estimator
from supernet.gates import ArchitectureParameters
from supernet.health import check_distribution, check_loss, mean_entropy, skip_share, zero_mask
from supernet.limits import NO_LIMITS, Limits
from supernet.network import MixedLayer, Supernet
from supernet.objective import make_objective
from supernet.proposals import best_within
from supernet.prune import Pruner
from supernet.rng import generator, seeded
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings
from supernet.sync import Alone, Sync, rank_weight
from supernet.training import Batch, Data, precision_context, to_device
from supernet.weights import WeightTraining


@dataclass(frozen=True)
class StepRecord:
    """What one step saw. Tensors stay on their device; reading them is the caller's choice.

    Attributes:
        step: Index of the step.
        loss: Cross-entropy of the weight step, or of the architecture step where weights are frozen.
        arch_loss: Cross-entropy on the validation split, None where there was no architecture step.
        expected_cost: Of the distribution after the step, in the cost table's unit.
        multiplier: Weight of the cost term.
        entropy: Mean entropy of a position, nats.
        skip_share: Mean probability of Zero over the positions that have it.
        num_alive: Candidates not dropped.
    """

    step: int
    loss: Tensor
    arch_loss: Tensor | None
    expected_cost: float
    multiplier: float
    entropy: float
    skip_share: float
    num_alive: int


class Search:
    """A search over one space on one cost table.

    Args:
        supernet: Its weights are trained in place; on the device where it should run. Candidates that an earlier search
            dropped stay dropped.
        costs: What the objective limits.
        settings: The stretch to run.
        data: Splits `train` and `validation`.
        seed: Of paths, initial alpha and everything drawn here.
        sync: The ranks of this search.
        limits: What its networks must keep beside the objective; forbidden candidates are dropped at once.

    Attributes:
        start_entropy: Mean entropy of a position in nats where all candidates that are allowed are as probable.

    Raises:
        InputError: If the cost table is of another space, the objective does not fit it, no path keeps all limits, or a
            batch has fewer images than there are ranks.
    """

    def __init__(
        self,
        supernet: Supernet,
        costs: CostTable,
        settings: SearchSettings,
        data: Data,
        *,
        seed: int,
        sync: Sync | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        settings.check("search")
        settings = settings if settings.train_weights else replace(settings, sharing=SharingSettings())
        self.supernet, self.costs, self.settings, self.data, self.seed = supernet, costs, settings, data, seed
        self.sync: Sync = sync or Alone()
        self.limits = limits
        self._check_arguments()
        supernet.recompute = settings.recompute
        if settings.compile:
            supernet.compile_candidates()
        self.device = next(supernet.parameters()).device
        self.alpha = ArchitectureParameters(supernet.space, generator(seed, "alpha"))
        self.estimator = make_estimator(settings.estimator, settings.num_samples)
        self.searches = settings.searches
        self.objective = make_objective(settings.objective, costs, limits) if self.searches else None
        self.arch_optimiser = torch.optim.Adam([self.alpha.logits], lr=settings.arch_learning_rate, betas=(0.0, 0.999))
        self.weights = WeightTraining(supernet, settings, seed=seed, sync=self.sync)
        self.zero = zero_mask(supernet.space, self.alpha.alive.shape[1])
        self._keep_living()
        self._check_limits()
        self._drop(limits.mask(self.alpha.alive.shape))
        # Both count what may be chosen: no forbidden candidate, and all others, even where a restart drops some.
        self.pruner = Pruner(settings.prune, self.alpha.alive) if settings.prune else None
        self.start_entropy = mean_entropy(self._uniform())
        self.step_index = 0
        self.num_arch_steps = 0
        self._streams: dict[str, Iterator[Batch]] = {}
        self._cursors = {"train": 0, "validation": 0}
        supernet.train()

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.step_index >= self.settings.num_steps

    def step(self) -> StepRecord:
        """Make one step: a weight step, then an architecture step where one is due.

        Raises:
            RunError: If the search has collapsed: a loss that is not finite, or skips everywhere although
                the budget and all limits would pay for more.
        """
        settings, step = self.settings, self.step_index
        loss = arch_loss = None
        if settings.train_weights:
            loss = self.weights.step(step, self._path_probs(), self._next("train", settings.batch_size))
        if self.searches and (not settings.train_weights or (step + 1) % settings.arch_every == 0):
            arch_loss = self._arch_step(step)
        loss = arch_loss if loss is None else loss
        assert loss is not None, "a step trains weights or alpha"
        self.step_index += 1
        with torch.no_grad():
            probs = self.alpha.probs()
            record = StepRecord(
                step=step,
                loss=loss,
                arch_loss=arch_loss,
                expected_cost=float(self.costs.expected(probs)),
                multiplier=self.objective.multiplier if self.objective else 0.0,
                entropy=mean_entropy(probs),
                skip_share=skip_share(probs, self.zero),
                num_alive=int(self.alpha.alive.sum()),
            )
        if self.done or (step + 1) % settings.check_every == 0:
            check_loss(f"step {step}", loss)
        if self.objective:
            check_distribution(step, probs, self.zero, self.objective)
        return record

    def _path_probs(self) -> Tensor:
        """Distribution of weight paths: `probs` in a search, uniform in a warm-up."""
        return self.alpha.probs().detach() if self.searches else self._uniform()

    def _uniform(self) -> Tensor:
        return self.alpha.alive / self.alpha.alive.sum(1, keepdim=True)

    def _arch_step(self, step: int) -> Tensor:
        """One Adam step on alpha from a validation batch; weights and statistics stay as they are."""
        settings = self.settings
        assert self.objective is not None
        batch_size = settings.arch_batch_size or settings.batch_size
        images, labels = self._next("validation", batch_size)
        rank = self.sync.rank if settings.arch_paths == "per-rank" else 0
        draws = generator(self.seed, "arch", step, rank)
        dropout = seeded(self.device, self.seed, "arch dropout", step, self.sync.rank)
        with dropout, precision_context(settings.precision, self.device):
            found = self.estimator.gradient(
                self.supernet, self.alpha, images, labels, self.costs, self.objective, draws
            )
        grad = found.logits * rank_weight(batch_size, self.sync.rank, self.sync.num_ranks)
        self.sync.average([grad])
        before = self.alpha.logits.detach().clone()
        self.alpha.logits.grad = grad
        self.arch_optimiser.step()
        self.alpha.logits.grad = None
        self.estimator.settle(before, self.alpha.logits, grad)
        self.num_arch_steps += 1
        with torch.no_grad():
            self.objective.ascend(self.alpha.probs())
        if self.pruner and self.num_arch_steps % self.pruner.settings.every == 0:
            doomed = self.pruner.check(self.alpha.probs().detach(), self.alpha.alive, step / settings.num_steps)
            self._drop(self.objective.spared(doomed, self.alpha.alive))
        return found.cross_entropy

    def _layer(self, position: int) -> MixedLayer:
        layer = self.supernet.layers[self.supernet.position_layers[position]]
        assert isinstance(layer, MixedLayer)
        return layer

    def _keep_living(self) -> None:
        """Leave out what the supernet lacks: a search before this one may have dropped candidates."""
        living = torch.zeros_like(self.alpha.alive)
        for position, row in enumerate(living):
            row[self._layer(position).living()] = True
        self.alpha.alive &= living

    def _drop(self, doomed: Tensor) -> None:
        """Remove candidates for good: from alpha, from the supernet, from the optimiser."""
        going = doomed & self.alpha.alive
        self.alpha.alive &= ~going
        for i, j in going.nonzero().tolist():
            self.weights.drop(self._layer(i), j)

    def _next(self, split: str, batch_size: int) -> Batch:
        """Return the next batch of this rank; the cursor is all that a restart needs."""
        if split not in self._streams:
            self._streams[split] = self.data.batches(
                split, batch_size, start=self._cursors[split], rank=self.sync.rank, num_ranks=self.sync.num_ranks
            )
        self._cursors[split] += 1
        return to_device(next(self._streams[split]), self.device)

    def _check_arguments(self) -> None:
        counts = [len(position.candidates) for position in self.supernet.space.positions]
        if not counts:
            raise InputError(f"space {self.supernet.space.name!r} has no position: there is nothing to search")
        priced = [len(costs) for costs in self.costs.candidates]
        if counts != priced:
            raise InputError(
                f"cost table {self.costs.name!r} is of another space: {priced} candidates per position, not {counts}"
            )
        settings, num_ranks = self.settings, self.sync.num_ranks
        for size in (settings.batch_size, settings.arch_batch_size or settings.batch_size):
            if size < num_ranks:
                raise InputError(f"batch size {size}: fewer images than ranks, {num_ranks}")
        if settings.batch_size < (least := num_ranks * settings.sharing.num_shares):
            raise InputError(
                f"batch_size {settings.batch_size}: fewer images than all paths on {num_ranks} ranks; give at least "
                f"{least}, or fewer paths in sharing"
            )

    def _check_limits(self) -> None:
        """Refuse limits, the budget among them, that no path keeps of the candidates that are there."""
        there = torch.zeros_like(self.costs.matrix).masked_fill(~self.alpha.alive, -torch.inf)
        if self.objective:
            self.objective.best_path(there)
        else:
            best_within(there, self.costs, torch.inf, self.limits)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a restart needs, as tensors and plain data.

        As in torch, weights and optimiser state are the live tensors: save or copy them before the next step.
        A search on frozen weights leaves them out: it is restarted on the same ones.
        """
        return {
            "step_index": self.step_index,
            "num_arch_steps": self.num_arch_steps,
            "cursors": dict(self._cursors),
            "alpha": self.alpha.state_dict(),
            "supernet": self.supernet.state_dict() if self.settings.train_weights else None,
            "weights": self.weights.state_dict(),
            "arch_optimiser": self.arch_optimiser.state_dict(),
            "multiplier": self.objective.multiplier if self.objective else 0.0,
            "limit_multipliers": [term.multiplier for term in self.objective.terms] if self.objective else [],
            "strikes": self.pruner.strikes if self.pruner else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, into a freshly made search with the same arguments."""
        self._drop(~state["alpha"]["alive"])
        self.alpha.load_state_dict(state["alpha"])
        if state["supernet"] is not None:
            self.supernet.load_state_dict(state["supernet"])
        self.weights.load_state_dict(state["weights"])
        self.arch_optimiser.load_state_dict(state["arch_optimiser"])
        self.step_index, self.num_arch_steps = state["step_index"], state["num_arch_steps"]
        self._cursors, self._streams = dict(state["cursors"]), {}
        if self.objective:
            self.objective.multiplier = state["multiplier"]
            for term, multiplier in zip(self.objective.terms, state["limit_multipliers"], strict=True):
                term.multiplier = multiplier
        if self.pruner:
            self.pruner.strikes = state["strikes"].clone()
