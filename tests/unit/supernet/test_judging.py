"""Judging many paths at once: the same verdicts as one by one, and nothing of the supernet changes."""

import copy
from threading import Barrier, Thread

import pytest
import torch
from supernet_tiny import TinyData, all_paths_of, tiny_space, tiny_supernet

from supernet.errors import RunError
from supernet.judging import MAX_KEPT_BYTES, Kept, PathJudge, RankedJudge, share_statistics, walk
from supernet.specialise import specialise
from supernet.training import MAX_AT_ONCE, evaluate, recalibrate

SPACE = tiny_space(blocks=2)
CPU = torch.device("cpu")


def bits(module):
    return [value.clone() for value in module.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def judge_of(supernet, data=None):
    return PathJudge(supernet, data or TinyData(), batch_size=8, recalibration_batches=3, limit=32)


def test_each_path_is_judged_as_its_own_network_would_be():
    supernet = tiny_supernet(SPACE, seed=7)
    paths = all_paths_of(SPACE)
    for found in judge_of(supernet)(paths[::3]):
        network = specialise(supernet, SPACE.architecture(found.path), inherit=True, seed=0)
        recalibrate(network, TinyData().once("train", 8, limit=24), CPU)
        alone = evaluate(network, TinyData().once("validation", 8, limit=32), CPU)
        assert found.top1 == alone.top1
        assert found.loss == pytest.approx(alone.loss, rel=1e-6)


def test_a_short_last_batch_of_training_images_is_left_out():
    class Short(TinyData):
        def once(self, split, batch_size, *, limit=None):
            yield from super().once(split, batch_size, limit=limit)
            if split == "train":
                yield tuple(part[:1] for part in next(self.batches("train", batch_size)))

    paths = all_paths_of(SPACE)[::5]
    supernet = tiny_supernet(SPACE, seed=7)
    assert judge_of(supernet, Short())(paths) == judge_of(supernet)(paths)


def test_without_refit_the_shared_statistics_judge():
    supernet = tiny_supernet(SPACE, seed=7)
    supernet(next(TinyData().batches("train", 8))[0] + 3.0, (0, 1, 2))  # statistics that are not those of the images
    judge = PathJudge(supernet, TinyData(), batch_size=8, recalibration_batches=0, limit=32)
    network = specialise(supernet, SPACE.architecture((0, 1, 2)), inherit=True, seed=0).eval()
    alone = evaluate(network, TinyData().once("validation", 8, limit=32), CPU)
    (found,) = judge([(0, 1, 2)])
    assert (found.top1, found.loss) == (alone.top1, pytest.approx(alone.loss, rel=1e-6))
    assert found != judge_of(supernet)([(0, 1, 2)])[0]


def norms_of(supernet, position):
    layer = supernet.layers[supernet.position_layers[position]]
    return [next(m for m in layer.candidates[i].modules() if isinstance(m, torch.nn.BatchNorm2d)) for i in (0, 1)]


def test_shared_statistics_are_plain_means_and_of_every_candidate_as_many(monkeypatch):
    monkeypatch.setattr("supernet.judging.NUM_SHARED", 12)
    supernet = tiny_supernet(SPACE, seed=7)
    share_statistics(supernet, TinyData(), 8)
    stem = supernet.layers[0].candidates[0]
    conv, norm = (
        next(m for m in stem.modules() if isinstance(m, kind)) for kind in (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    )
    seen = [conv(images) for images, _ in TinyData().once("train", 8, limit=96)]
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0))
    assert [int(norm.num_batches_tracked) for norm in norms_of(supernet, 0)] == [4, 4]
    assert {m.momentum for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}


def test_shared_statistics_hang_on_weights_and_images_only():
    one, other = tiny_supernet(SPACE, seed=7), tiny_supernet(SPACE, seed=7).train()
    other(next(TinyData().batches("train", 8))[0] + 3.0, (0, 1, 2))
    for supernet in (one, other):
        share_statistics(supernet, TinyData(), 8)
    assert same(bits(one), bits(other))


def test_a_small_split_is_gone_through_again_and_none_is_refused(monkeypatch):
    class Small(TinyData):
        def once(self, split, batch_size, *, limit=None):
            return super().once(split, batch_size, limit=min(limit, self.size)) if self.size else iter(())

    monkeypatch.setattr("supernet.judging.NUM_SHARED", 9)
    data, supernet = Small(), tiny_supernet(SPACE, seed=7)
    data.size = 16
    share_statistics(supernet, data, 8)
    norms = norms_of(supernet, 0)
    assert [int(norm.num_batches_tracked) for norm in norms] == [3, 3]
    data.size = 0
    with pytest.raises(RunError, match="no batch of training images"):
        share_statistics(supernet, data, 8)


def test_dropped_candidates_share_nothing():
    supernet = tiny_supernet(SPACE, seed=7)
    supernet.layers[supernet.position_layers[0]].drop(2)
    share_statistics(supernet, TinyData(), 8)
    assert [int(norm.num_batches_tracked) for norm in norms_of(supernet, 0)] == [64, 64]


def test_a_large_batch_runs_in_parts_over_the_same_images():
    """Before: the global batch on every rank; memory grew with the number of ranks that share it."""
    supernet = tiny_supernet(SPACE, seed=7)
    sizes = (
        {"batch_size": 2 * MAX_AT_ONCE, "recalibration_batches": 1},
        {"batch_size": MAX_AT_ONCE, "recalibration_batches": 2},
    )
    large, parts = (PathJudge(supernet, TinyData(), limit=2 * MAX_AT_ONCE, **size) for size in sizes)
    assert large([(0, 1, 2)]) == parts([(0, 1, 2)])


def test_verdicts_come_in_the_order_asked_and_depend_on_no_other_path():
    judge = judge_of(tiny_supernet(SPACE, seed=7))
    paths = all_paths_of(SPACE)[::4]
    together = judge([*reversed(paths), paths[0]])
    assert [found.path for found in together] == [*reversed(paths), paths[0]]
    assert together == [judge([path])[0] for path in [*reversed(paths), paths[0]]]


@pytest.mark.parametrize("training", [True, False])
def test_the_supernet_is_left_alone(training):
    supernet = tiny_supernet(SPACE, seed=7).train(training)
    before = copy.deepcopy(bits(supernet))
    judge_of(supernet)([(0, 1, 2), (1, 1, 0)])
    assert same(before, bits(supernet))
    norms = [module for module in supernet.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}
    assert {module.training for module in supernet.modules()} == {training}


def test_newer_weights_are_judged():
    supernet = tiny_supernet(SPACE, seed=7)
    judge = judge_of(supernet)
    before = judge([(0, 1, 2)])
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.mul_(1.5)
    assert judge([(0, 1, 2)]) != before


def test_progress_is_told_in_images():
    told = []
    judge = PathJudge(
        tiny_supernet(SPACE), TinyData(), batch_size=8, recalibration_batches=2, limit=24, tell=told.append
    )
    judge([(0, 0, 0), (1, 1, 1)])
    assert told == [8, 16, 24, 32, 40]


def test_what_paths_have_in_common_runs_once():
    ran = []

    def run(begin, x):
        ran.append(begin)
        return x + begin[-1][1]

    networks = [((0, 0), (1, 1)), ((0, 0), (1, 1), (2, 5)), ((0, 0), (1, 2), (2, 5)), ((0, 3),)]
    ends = [float(x) for x in walk(networks, torch.zeros(()), run)]
    assert ends == [1.0, 6.0, 7.0, 3.0]
    assert len(ran) == len(set(ran)) == 6


def test_without_images_the_reason_is_said():
    class Empty(TinyData):
        def once(self, split, batch_size, *, limit=None):
            return iter(()) if split == self.empty else super().once(split, batch_size, limit=limit)

    for split, reason in (("train", "no batch of training images"), ("validation", "no validation image")):
        data = Empty()
        data.empty = split
        with pytest.raises(RunError, match=reason):
            judge_of(tiny_supernet(SPACE), data)([(0, 0, 0)])


def test_images_are_kept_where_they_are_few_and_read_again_where_not(monkeypatch):
    reads = []

    def read():
        reads.append(1)
        yield from ((torch.zeros(4, 2), torch.zeros(4)) for _ in range(3))

    kept = Kept(read)
    assert [len(list(kept)) for _ in range(3)] == [3, 3, 3]
    assert len(reads) == 1
    assert MAX_KEPT_BYTES == 2**30
    monkeypatch.setattr("supernet.judging.MAX_KEPT_BYTES", 50)
    large = Kept(read)
    assert [len(list(large)) for _ in range(3)] == [3, 3, 3]
    assert len(reads) == 1 + 3


class Threads:
    """Ranks as threads: tensors meet at a barrier."""

    def __init__(self, rank, num_ranks, barrier, table):
        self.rank, self.num_ranks, self._barrier, self._table = rank, num_ranks, barrier, table

    def _meet(self, tensors):
        self._table[self.rank] = [tensor.clone() for tensor in tensors]
        self._barrier.wait(60)
        met = [self._table[rank] for rank in range(self.num_ranks)]
        self._barrier.wait(60)
        return met

    def broadcast(self, tensors):
        for tensor, value in zip(tensors, self._meet(tensors)[0], strict=True):
            tensor.copy_(value)

    def average(self, tensors):
        met = self._meet(tensors)
        for number, tensor in enumerate(tensors):
            tensor.copy_(sum(values[number] for values in met) / self.num_ranks)


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_ranks_judge_a_part_each_and_rank_0_hears_all(num_ranks):
    paths = all_paths_of(SPACE)[::5]
    wanted = judge_of(tiny_supernet(SPACE, seed=7))(paths)
    alone = [judge_of(tiny_supernet(SPACE, seed=7)) for _ in range(num_ranks)]
    barrier, table, heard = Barrier(num_ranks), {}, []

    def rank_of(rank):
        judge = RankedJudge(alone[rank], Threads(rank, num_ranks, barrier, table))
        if rank:
            judge.serve()
            return
        heard.extend(judge(paths))
        heard.extend(judge(paths[:1]))
        judge.stop()

    threads = [Thread(target=rank_of, args=(rank,)) for rank in range(num_ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [found.path for found in heard] == [*paths, paths[0]]
    for found, other in zip(heard, [*wanted, wanted[0]], strict=True):
        assert (found.top1, found.loss) == pytest.approx((other.top1, other.loss), rel=1e-12)
