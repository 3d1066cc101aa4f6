"""Judges paths of a supernet on its shared weights: top-1 and loss on validation images.

Why apart: many paths are judged at once, and what they have in common runs once. Judging changes nothing of the
supernet and knows neither costs nor budgets; which paths are worth it is the matter of `derive` and `pool`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, takewhile

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from supernet.errors import RunError
from supernet.network import MixedLayer, Supernet
from supernet.pool import Judged
from supernet.sharing import fair_path
from supernet.space import Path
from supernet.sync import Sync, rank_slice
from supernet.training import Batch, Data, at_once, full_batches, recalibrate, to_device

Network = tuple[tuple[int, int], ...]
"""What runs for a path, see `Space.kept`: (layer index, candidate index) in order; also the beginning of one."""

MAX_KEPT_BYTES = 2**30
"""Decoded images are kept from call to call up to so much memory; more are read again each time."""

NUM_SHARED = 128
"""Batches, each with a path of its own, that the batch-norm statistics of all paths are means over."""


def share_statistics(supernet: Supernet, data: Data, batch_size: int) -> None:
    """Give a supernet the batch-norm statistics that its paths share: plain means over training images.

    Every batch takes another path, and every candidate is taken as often (`sharing.fair_path`); small splits are gone
    through several times. The same on every rank, and the supernet is left in eval mode.

    Args:
        supernet: Its running statistics are replaced.
        data: Split `train`.
        batch_size: Images per batch, `training.MAX_AT_ONCE` at most.

    Raises:
        RunError: If there is no batch.
    """
    part = at_once(batch_size)
    images = Kept(lambda: full_batches(data.once("train", part, limit=NUM_SHARED * part)))
    batches = chain.from_iterable(images for _ in range(NUM_SHARED))
    recalibrate(_InTurn(supernet), islice(batches, NUM_SHARED), next(supernet.parameters()).device)


class _InTurn(nn.Module):
    """A supernet that takes another path each time, all its candidates as often."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet, self._number = supernet, 0
        layers = [supernet.layers[number] for number in supernet.position_layers]
        left = [layer.living() for layer in layers if isinstance(layer, MixedLayer)]
        self._alive = torch.zeros(len(left), max(map(max, left)) + 1, dtype=torch.bool)
        for row, candidates in zip(self._alive, left, strict=True):
            row[candidates] = True

    def forward(self, x: Tensor) -> Tensor:
        self._number += 1
        y: Tensor = self.supernet(x, fair_path(self._alive, 0, self._number - 1))
        return y


class PathJudge:
    """Judges paths with shared weights.

    Batch norm has the supernet's running statistics, such as `share_statistics` leaves them, or each path its own:
    plain means over training images, as in `training.recalibrate`. On a supernet that began at zero those that are
    shared rank networks better, on one that began at random worse (`docs/experiments.md`). Paths are walked as a tree:
    what they have in common from the stem on runs once a batch. In memory at any time: one batch's features along one
    path, and the statistics of all.

    Args:
        supernet: Its weights may change between calls; a call judges those it finds.
        data: Splits `train` and `validation`.
        batch_size: Images per batch; more than `training.MAX_AT_ONCE` run in parts.
        recalibration_batches: Training batches for each path's own statistics; 0 judges by the supernet's.
        limit: At most this many validation images; None for all.
        tell: Called after each batch with the images of this call that are done, those for the statistics included.
    """

    def __init__(
        self,
        supernet: Supernet,
        data: Data,
        *,
        batch_size: int,
        recalibration_batches: int,
        limit: int | None = None,
        tell: Callable[[int], None] = lambda num_images: None,
    ) -> None:
        self.supernet, self._tell = supernet, tell
        self.device = next(supernet.parameters()).device
        refit = recalibration_batches * batch_size
        self._refits = recalibration_batches > 0
        part = at_once(batch_size)
        self._train = Kept(lambda: full_batches(data.once("train", part, limit=refit)))
        self._validation = Kept(lambda: data.once("validation", part, limit=limit))

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Return what validation says of each path of the space, in their order.

        Raises:
            RunError: If there are no images.
        """
        kept = [self.supernet.space.kept(path) for path in paths]
        networks = sorted(set(kept))
        with torch.no_grad(), _left_alone(self.supernet):
            statistics, num_images = self._refit(networks) if self._refits else ({}, 0)
            found = dict(zip(networks, self._classify(networks, statistics, num_images), strict=True))
        return [Judged(path, *found[network]) for path, network in zip(paths, kept, strict=True)]

    def _refit(self, networks: Sequence[Network]) -> tuple[dict[Network, list[Tensor]], int]:
        """Return the statistics of the last step of every beginning of a network, as `_statistics` lists them.

        And the number of images behind them.
        """
        sums: dict[Network, list[Tensor]] = {}

        def run(begin: Network, x: Tensor) -> Tensor:
            norms = self._norms(begin)
            for norm in norms:
                norm.train()
                norm.momentum = 1.0  # running statistics become the batch's
            y = self._step(begin, x)
            for norm in norms:
                norm.eval()
            seen = [value.clone() for value in _statistics(norms)]
            sums[begin] = [a + b for a, b in zip(sums[begin], seen, strict=True)] if begin in sums else seen
            return y

        num_batches = num_images = 0
        for batch in self._train:
            images, _ = to_device(batch, self.device)
            for _ in walk(networks, images, run):
                pass
            num_batches, num_images = num_batches + 1, num_images + len(images)
            self._tell(num_images)
        if not num_batches:
            raise RunError("paths cannot be judged: there is no batch of training images for batch norm")
        return {begin: [value / num_batches for value in values] for begin, values in sums.items()}, num_images

    def _classify(
        self, networks: Sequence[Network], statistics: dict[Network, list[Tensor]], num_done: int
    ) -> list[tuple[float, float]]:
        """Return (top-1, loss) of each network on the validation images."""

        def run(begin: Network, x: Tensor) -> Tensor:
            if self._refits:
                for value, wanted in zip(_statistics(self._norms(begin)), statistics[begin], strict=True):
                    value.copy_(wanted)
            return self._step(begin, x)

        sums = torch.zeros(len(networks), 2, dtype=torch.float64, device=self.device)
        num_images = 0
        for batch in self._validation:
            images, labels = to_device(batch, self.device)
            for number, logits in enumerate(walk(networks, images, run)):
                sums[number, 0] += (logits.argmax(1) == labels).sum()
                sums[number, 1] += F.cross_entropy(logits.float(), labels, reduction="sum")
            num_images += len(labels)
            self._tell(num_done + num_images)
        if not num_images:
            raise RunError("paths cannot be judged: there is no validation image")
        return [(top1, loss) for top1, loss in (sums / num_images).tolist()]

    def _layer(self, begin: Network) -> tuple[MixedLayer, int]:
        number, index = begin[-1]
        layer = self.supernet.layers[number]
        assert isinstance(layer, MixedLayer)
        return layer, index

    def _step(self, begin: Network, x: Tensor) -> Tensor:
        layer, index = self._layer(begin)
        y = layer.run(x, index)
        return x + y if layer.residual else y

    def _norms(self, begin: Network) -> list[_BatchNorm]:
        layer, index = self._layer(begin)
        return [module for module in layer.candidates[index].modules() if isinstance(module, _BatchNorm)]


class RankedJudge:
    """Judges paths on all ranks, each a part of them. Rank 0 asks; the others call `serve` until it is done.

    Args:
        judge: Judges this rank's part; the same weights and images on every rank.
        sync: The ranks.
    """

    def __init__(self, judge: PathJudge, sync: Sync) -> None:
        self._judge, self._sync = judge, sync
        self._num_positions = len(judge.supernet.space.positions)

    def __call__(self, paths: Sequence[Path]) -> list[Judged]:
        """Return what validation says of each path, in their order; on rank 0."""
        if not paths:
            return []
        self._agree(len(paths))
        return self._part(torch.tensor(paths, dtype=torch.int64, device=self._judge.device))

    def serve(self) -> None:
        """Judge this rank's part of what rank 0 asks, until it calls `stop`."""
        while count := self._agree(0):
            self._part(torch.zeros(count, self._num_positions, dtype=torch.int64, device=self._judge.device))

    def stop(self) -> None:
        """Let the other ranks go on; on rank 0."""
        self._agree(0)

    def _agree(self, count: int) -> int:
        """Return rank 0's count on every rank."""
        agreed = torch.tensor([count], device=self._judge.device)
        self._sync.broadcast([agreed])
        return int(agreed)

    def _part(self, asked: Tensor) -> list[Judged]:
        self._sync.broadcast([asked])
        paths: list[Path] = [tuple(path) for path in asked.tolist()]
        order = sorted(range(len(paths)), key=paths.__getitem__)  # what is alike runs on one rank
        first, last = rank_slice(len(paths), self._sync.rank, self._sync.num_ranks)
        verdicts = torch.zeros(len(paths), 2, dtype=torch.float64, device=asked.device)
        for place, found in zip(order[first:last], self._judge([paths[i] for i in order[first:last]]), strict=True):
            verdicts[place] = torch.tensor([found.top1, found.loss], dtype=torch.float64)
        self._sync.average([verdicts])
        verdicts *= self._sync.num_ranks
        return [Judged(path, top1, loss) for path, (top1, loss) in zip(paths, verdicts.tolist(), strict=True)]


def walk(networks: Sequence[Network], x: Tensor, run: Callable[[Network, Tensor], Tensor]) -> Iterator[Tensor]:
    """Run networks on one input and yield the output of each in order; a common beginning runs once.

    Args:
        networks: Sorted.
        x: Input of all.
        run: From a beginning of a network and the input of its last step to that step's output.
    """
    before: Network = ()
    outputs = [x]
    for network in networks:
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, network, strict=False)))
        del outputs[common + 1 :]
        for length in range(common + 1, len(network) + 1):
            outputs.append(run(network[:length], outputs[-1]))
        yield outputs[-1]
        before = network


class Kept:
    """Batches that can be gone through again: kept in memory where they are small, else read again.

    Args:
        read: Returns the batches from the first on, the same ones each time.
    """

    def __init__(self, read: Callable[[], Iterator[Batch]]) -> None:
        self._read = read
        self._batches: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches."""
        if self._batches is not None:
            yield from self._batches
            return
        batches: list[Batch] = []
        num_bytes = 0
        for batch in self._read():
            num_bytes += sum(part.nbytes for part in batch)
            if num_bytes <= MAX_KEPT_BYTES:
                batches.append(batch)
            yield batch
        self._batches = batches if num_bytes <= MAX_KEPT_BYTES else None


def _statistics(norms: Sequence[_BatchNorm]) -> list[Tensor]:
    return [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]


@contextmanager
def _left_alone(supernet: Supernet) -> Iterator[None]:
    """Switch to evaluation; put modes, momenta and statistics back afterwards."""
    modes = {module: module.training for module in supernet.modules()}
    norms = [module for module in modes if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    buffers = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    supernet.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for buffer, before in buffers:
            buffer.copy_(before)
