"""Weight steps on shared weights: which paths, on which images, what they learn, and what is kept of them."""

import copy
from collections import Counter
from dataclasses import replace

import pytest
import torch
from supernet_tiny import tiny_batch, tiny_space, tiny_supernet
from torch import nn
from torch.nn import functional as F

from supernet.cost import macs_table
from supernet.errors import InputError
from supernet.gates import ArchitectureParameters, sample_path
from supernet.network import build_network, inherit_weights
from supernet.plain import read
from supernet.rng import generator
from supernet.sharing import PathSchedule, SharingSettings
from supernet.sync import Alone
from supernet.weights import WeightSettings, WeightTraining

SPACE = tiny_space(blocks=2)
UNIFORM = ArchitectureParameters(SPACE, generator(0)).alive / 3
SETTINGS = WeightSettings(num_steps=10, batch_size=12, learning_rate=0.1, weight_decay=0.01)


def training(sharing, supernet=None, **changes):
    settings = replace(SETTINGS, sharing=sharing, **changes)
    return WeightTraining(supernet or tiny_supernet(SPACE), settings, seed=0, sync=Alone())


def path_network(supernet, path):
    network = build_network(SPACE, SPACE.architecture(path)).double().train()
    inherit_weights(network, supernet, SPACE.architecture(path))
    return network


def bits(supernet):
    return {name: p.detach().clone() for name, p in supernet.named_parameters()}


# Which paths


def test_independent_paths_are_those_of_today():
    for step in range(20):
        chosen = PathSchedule(SPACE, SharingSettings(num_paths=2), 5).paths(step, UNIFORM)
        assert chosen[0] == sample_path(UNIFORM, generator(5, "path", step))
        assert len(chosen) == 2


@pytest.mark.parametrize("num_paths", [1, 2, 3])
def test_in_the_fair_order_every_candidate_comes_once_in_a_round(num_paths):
    alive = torch.ones(3, 3, dtype=torch.bool)
    alive[1, 0] = False
    schedule = PathSchedule(SPACE, SharingSettings(order="fair", num_paths=num_paths), 0)
    paths = [path for step in range(36 // num_paths) for path in schedule.paths(step, alive / 3)]
    for position, count in enumerate([3, 2, 3]):
        rounds = [paths[first : first + count] for first in range(0, 36, count)]
        assert all(Counter(p[position] for p in each) == Counter(alive[position].nonzero().flatten().tolist())
                   for each in rounds)  # fmt: skip
    assert len(set(paths)) > 12
    assert paths != [p for s in range(36) for p in PathSchedule(SPACE, schedule.settings, 1).paths(s, alive)][:36]


def test_in_the_spread_order_paths_of_all_sizes_are_as_common_and_so_is_every_candidate():
    macs, schedule = macs_table(SPACE), PathSchedule(SPACE, SharingSettings(order="spread"), 0)
    sizes = macs.matrix.argsort(1).argsort(1)
    even = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    paths = [schedule.paths(step, even)[0] for step in range(4000)]
    kinds = Counter(tuple(sorted(int(sizes[i, j]) for i, j in enumerate(path))) for path in paths)
    assert len(kinds) == 10  # ways of having so many small, middling and large ones of three
    assert max(abs(count / 400 - 1) for count in kinds.values()) < 0.2  # independent draws: 0.11 to 6/27 of them
    for position in range(3):
        assert max(abs(Counter(path[position] for path in paths)[j] / 4000 - 1 / 3) for j in range(3)) < 0.03
    even[1, 0] = 0
    assert all(path[1] for step in range(50) for path in schedule.paths(step, even))


def test_a_sandwich_has_the_largest_and_the_smallest_path_that_are_left():
    schedule, macs = PathSchedule(SPACE, SharingSettings(sandwich=True), 0), macs_table(SPACE)
    chosen = schedule.paths(0, UNIFORM)
    assert (macs.total(chosen[0]), macs.total(chosen[1])) == (macs.maximum, macs.minimum)
    assert len(chosen) == 3
    probs = UNIFORM.clone()
    probs[0, chosen[0][0]] = probs[1, chosen[1][1]] = 0
    left = schedule.paths(0, probs)
    assert left[0][0] != chosen[0][0]
    assert left[1][1] != chosen[1][1]


# What they learn


@pytest.mark.parametrize(
    "sharing",
    [
        SharingSettings(num_paths=3),
        SharingSettings(order="fair", num_paths=3),
        SharingSettings(sandwich=True),
        SharingSettings(sandwich=True, num_paths=2, distillation=0.7),
    ],
)
def test_a_step_adds_up_the_gradients_of_its_paths_each_on_its_share(sharing):
    supernet, batch = tiny_supernet(SPACE), tiny_batch(12, space=SPACE)
    trained = training(sharing, supernet)
    chosen = trained.schedule.paths(0, UNIFORM)
    before, total = copy.deepcopy(supernet), torch.zeros((), dtype=torch.float64)
    for number, path in enumerate(chosen):
        images, labels = (part[number :: len(chosen)] for part in batch)
        logits = before(images, path)
        loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        if sharing.distillation and path != chosen[0]:
            taught = path_network(before, chosen[0])(images).detach().softmax(1)
            soft = -(taught * logits.log_softmax(1)).sum(1).mean()
            loss = (1 - sharing.distillation) * loss + sharing.distillation * soft
        total = total + loss * len(labels) / 12
    total.backward()
    torch.optim.SGD(before.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True).step()
    loss = trained.step(0, UNIFORM, batch)
    torch.testing.assert_close(loss, total.detach().to(loss.dtype))
    for name, p in bits(supernet).items():
        torch.testing.assert_close(p, bits(before)[name], rtol=1e-9, atol=1e-12)
    assert all(p.grad is None for p in supernet.parameters())


def test_a_teacher_leaves_no_trace_in_the_statistics():
    batch = tiny_batch(12, space=SPACE)
    plain, taught = (tiny_supernet(SPACE) for _ in range(2))
    training(SharingSettings(sandwich=True), plain).step(0, UNIFORM, batch)
    training(SharingSettings(sandwich=True, distillation=1.0), taught).step(0, UNIFORM, batch)
    for (name, a), b in zip(plain.named_buffers(), taught.buffers(), strict=True):
        assert torch.equal(a, b), name
    assert any(not torch.equal(a, b) for a, b in zip(plain.parameters(), taught.parameters(), strict=True))


def test_candidates_have_their_own_rate_and_momentum():
    supernet = tiny_supernet(SPACE)
    trained = training(SharingSettings(candidate_rate=2.0, candidate_momentum=0.5), supernet)
    before, batch = copy.deepcopy(supernet), tiny_batch(12, space=SPACE)
    searched = [p for i in supernet.position_layers for p in before.layers[i].parameters()]
    fixed = [p for i in (0, 4) for p in before.layers[i].parameters()]
    slow = torch.optim.SGD(fixed, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)
    fast = torch.optim.SGD(searched, lr=0.2, momentum=0.5, weight_decay=0.01, nesterov=True)
    trained.settings = replace(trained.settings, schedule="constant")
    for step in range(3):
        (path,) = trained.schedule.paths(step, UNIFORM)
        for p in before.parameters():
            p.grad = None
        F.cross_entropy(before(batch[0], path), batch[1], label_smoothing=0.1).backward()
        slow.step()
        fast.step()
        trained.step(step, UNIFORM, batch)
    for name, p in bits(supernet).items():
        torch.testing.assert_close(p, bits(before)[name], rtol=1e-9, atol=1e-12)


def test_the_average_replaces_the_weights_after_the_last_step():
    supernet, plain = tiny_supernet(SPACE), tiny_supernet(SPACE)
    averaged, usual = training(SharingSettings(average=0.8), supernet), training(SharingSettings(), plain)
    means = bits(plain)
    for step in range(10):
        batch = tiny_batch(12, step, SPACE)
        assert all(torch.equal(a, b) for a, b in zip(supernet.parameters(), plain.parameters(), strict=True))
        averaged.step(step, UNIFORM, batch)
        usual.step(step, UNIFORM, batch)
        decay = min(0.8, (1 + step) / (10 + step))
        means = {name: decay * means[name] + (1 - decay) * p for name, p in bits(plain).items()}
    for name, p in bits(supernet).items():
        torch.testing.assert_close(p, means[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["cosine", "linear", "constant"])
def test_schedules_go_from_the_peak_to_their_end(name):
    trained, seen = training(SharingSettings(), schedule=name), []
    for step in range(10):
        trained.step(step, UNIFORM, tiny_batch(12, step, SPACE))
        seen.append(trained.optimiser.param_groups[0]["lr"])
    assert seen[0] == 0.1
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx({"cosine": 0.00245, "linear": 0.01, "constant": 0.1}[name], abs=1e-5)


# What is kept


class Kept:
    """The most bytes that graphs held at once, without the weights."""

    def __init__(self, weights):
        self.weights = {p.data_ptr() for p in weights}
        self.now = self.most = 0

    def pack(self, tensor):
        return _Held(self, tensor)

    @staticmethod
    def unpack(held):
        return held.tensor


class _Held:
    def __init__(self, kept, tensor):
        self.kept, self.tensor = kept, tensor
        self.size = 0 if tensor.data_ptr() in kept.weights else tensor.nbytes
        kept.now += self.size
        kept.most = max(kept.most, kept.now)

    def __del__(self):
        self.kept.now -= self.size


def most_kept(sharing):
    supernet = tiny_supernet(SPACE)
    trained, kept = training(sharing, supernet, batch_size=48), Kept(supernet.parameters())
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        trained.step(0, UNIFORM, tiny_batch(48, space=SPACE))
    return kept.most


def test_a_step_of_many_paths_keeps_no_more_than_one_path_at_a_time():
    largest = PathSchedule(SPACE, SharingSettings(sandwich=True), 0).paths(0, UNIFORM)[0]
    supernet = tiny_supernet(SPACE)
    kept = Kept(supernet.parameters())
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        images, labels = tiny_batch(48, space=SPACE)
        loss = F.cross_entropy(supernet(images, largest), labels)
    del loss
    assert most_kept(SharingSettings(sandwich=True, distillation=1.0, num_paths=2)) <= 0.5 * kept.most
    assert most_kept(SharingSettings(order="fair", num_paths=3)) <= 0.6 * kept.most


# Refusals


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"distillation": 0.5}, "the teacher is the sandwich's largest path"),
        ({"order": "just"}, "sharing.order"),
        ({"num_paths": 0}, "sharing.num_paths"),
        ({"average": 1.0}, "sharing.average"),
        ({"candidate_rate": 0.0}, "sharing.candidate_rate"),
        ({"candidates": 2}, "unknown key 'candidates'"),
    ],
)
def test_sharing_that_cannot_work_is_refused(plain, message):
    with pytest.raises(InputError) as caught:
        read(WeightSettings, {"num_steps": 1, "sharing": plain}, "mine")
    assert message in str(caught.value)


def test_norms_of_a_path_see_their_share_only():
    supernet = tiny_supernet(SPACE)
    training(SharingSettings(num_paths=3), supernet).step(0, UNIFORM, tiny_batch(12, space=SPACE))
    norm = next(m for m in supernet.layers[0].modules() if isinstance(m, nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 3
