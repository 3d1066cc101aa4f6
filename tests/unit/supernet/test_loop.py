"""The search as a step machine: what a step changes, resuming bit for bit, pruning, refusals."""

import copy
import gc
import io
import itertools
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from supernet_tiny import TinyData, tiny_costs, tiny_space, tiny_supernet
from torch.nn import functional as F

from supernet.errors import InputError
from supernet.gates import sample_path
from supernet.loop import Search
from supernet.network import build_network, inherit_weights
from supernet.objective import ObjectiveSettings
from supernet.prune import PruneSettings
from supernet.rng import generator
from supernet.search_settings import SearchSettings
from supernet.sharing import SharingSettings
from supernet.training import cosine

SPACE = tiny_space(blocks=2)
COSTS = tiny_costs(SPACE)
BUDGET = ObjectiveSettings(kind="budget", reference=0.6 * COSTS.maximum, dual_rate=0.5)
SETTINGS = SearchSettings(
    num_steps=8, batch_size=8, arch_every=2, arch_learning_rate=0.05, objective=BUDGET, num_samples=3
)
# Strikes from the first check on, drops from the second: a few candidates go while the search runs.
PRUNE = PruneSettings(threshold=0.98, start=0.2, patience=2, every=1)


def search_of(settings=SETTINGS, seed=0, supernet=None):
    return Search(supernet or tiny_supernet(SPACE), COSTS, settings, TinyData(SPACE), seed=seed)


def run(search):
    while not search.done:
        search.step()
    return search


def saved(search):
    """Return a state as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(search.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def flat(value, name=""):
    """Return a nested state as {name: leaf}."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{name}.{key}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), name)
    return {name: value}


def assert_same_bits(a, b):
    a, b = flat(a), flat(b)
    assert a.keys() == b.keys()
    for key in a:
        same = torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key]
        assert same, key


MODES = {
    "warm-up": replace(SETTINGS, arch_every=0),
    "one-path": SETTINGS,
    "two-path": replace(SETTINGS, estimator="two-path"),
    "reinforce": replace(SETTINGS, estimator="reinforce"),
    "frozen": replace(SETTINGS, train_weights=False),
    "frozen two-path": replace(SETTINGS, train_weights=False, estimator="two-path"),
    "pruned": replace(SETTINGS, prune=PRUNE, arch_every=1),
    "pruned two-path": replace(SETTINGS, prune=PRUNE, arch_every=1, estimator="two-path"),
    "pruned frozen": replace(SETTINGS, prune=PRUNE, train_weights=False),
    "mul_log": replace(SETTINGS, objective=ObjectiveSettings(kind="mul_log", reference=BUDGET.reference)),
    "add_linear": replace(SETTINGS, objective=ObjectiveSettings(kind="add_linear", reference=BUDGET.reference)),
    "recompute": replace(SETTINGS, recompute=True),
    "fair": replace(SETTINGS, arch_every=0, sharing=SharingSettings(order="fair", num_paths=3)),
    "sandwich": replace(SETTINGS, sharing=SharingSettings(sandwich=True, distillation=0.5, average=0.9)),
    "pruned average": replace(SETTINGS, prune=PRUNE, arch_every=1, sharing=SharingSettings(average=0.9)),
    "own batch": replace(SETTINGS, arch_batch_size=16),
}


@pytest.mark.parametrize("mode", MODES)
def test_resumed_at_any_step_a_search_ends_with_the_same_bits(mode):
    settings = MODES[mode]
    search, states, records = search_of(settings), [], []
    while not search.done:
        # Reading a file is slow: the state of one step comes from one, and the last is compared with its own.
        states.append(saved(search) if search.step_index == 5 else copy.deepcopy(search.state_dict()))
        records.append(search.step())
    final = saved(search)
    assert_same_bits(search.state_dict(), final)
    assert (records[-1].num_alive < 9) == mode.startswith("pruned")
    for step, state in enumerate(states):
        again = search_of(settings)
        again.load_state_dict(state)
        assert again.step_index == step
        rest = [again.step() for _ in range(settings.num_steps - step)]
        assert_same_bits(again.state_dict(), final)
        assert_same_bits(again.supernet.state_dict(), search.supernet.state_dict())
        for got, expected in zip(rest, records[step:], strict=True):
            assert_same_bits(got.__dict__, expected.__dict__)


@pytest.mark.parametrize("estimator", ["one-path", "reinforce"])
def test_dropout_of_own_operators_follows_seed_and_step(estimator):
    space = tiny_space("dropping")
    settings = replace(SETTINGS, num_steps=4, arch_every=1, estimator=estimator)

    def dropping(seed=0):
        return Search(tiny_supernet(space), tiny_costs(space), settings, TinyData(space), seed=seed)

    before = torch.get_rng_state()
    search = dropping()
    search.step()
    state = saved(search)
    run(search)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = dropping()
    again.load_state_dict(state)
    assert_same_bits(run(again).state_dict(), search.state_dict())


def test_different_seeds_give_different_searches():
    searches = [search_of(seed=seed) for seed in range(3)]
    for search in searches:
        for _ in range(4):
            search.step()
    for a, b in itertools.combinations(searches, 2):
        assert not torch.equal(a.alpha.logits, b.alpha.logits)


def candidate_state(search, layer, index):
    """Weights, statistics and momentum of one candidate, copied."""
    candidate = search.supernet.layers[layer].candidates[index]
    momentum = [search.weights.optimiser.state.get(p, {}).get("momentum_buffer") for p in candidate.parameters()]
    return copy.deepcopy([*candidate.state_dict().values(), *momentum])


def same(a, b):
    return all(x is y is None or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_only_the_candidates_of_the_path_change_in_a_weight_step():
    settings = replace(SETTINGS, num_steps=30, weight_decay=0.1, momentum=0.9, arch_every=0)
    search, rested, layers = search_of(settings), 0, SPACE.layers
    for step in range(30):
        path = sample_path(search._path_probs(), generator(0, "path", step))
        chosen = iter(path)
        on_path = {(i, next(chosen) if layer.searched else 0) for i, layer in enumerate(layers)}
        every = {(i, j) for i, layer in enumerate(layers) for j, op in enumerate(layer.candidates) if op.name != "zero"}
        before = {key: candidate_state(search, *key) for key in every}
        search.step()
        for key in every:
            assert same(before[key], candidate_state(search, *key)) == (key not in on_path)
        rested += sum(before[key][-1] is not None for key in every - on_path)
        assert all(p.grad is None for p in search.supernet.parameters())
    assert rested > 50  # candidates with momentum were passed over, not only ones that had never been drawn


def test_a_weight_step_is_a_plain_sgd_step_of_the_standalone_network():
    settings = replace(SETTINGS, num_steps=3, arch_every=0, weight_decay=0.01)
    search = search_of(settings)
    path = sample_path(search._path_probs(), generator(0, "path", 0))
    network = build_network(SPACE, SPACE.architecture(path)).double()
    inherit_weights(network, search.supernet, SPACE.architecture(path))
    images, labels = next(TinyData(SPACE).batches("train", 8))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True)
    loss = F.cross_entropy(network.train()(images), labels, label_smoothing=0.1)
    loss.backward()
    optimiser.step()
    record = search.step()
    trained = build_network(SPACE, SPACE.architecture(path)).double()
    inherit_weights(trained, search.supernet, SPACE.architecture(path))
    torch.testing.assert_close(record.loss, loss.detach(), rtol=1e-12, atol=0)
    for got, expected in zip(trained.state_dict().values(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_architecture_steps_come_when_due_and_change_alpha_alone():
    search = search_of(replace(SETTINGS, num_steps=12, arch_every=5))
    made = [search.step().arch_loss is not None for _ in range(12)]
    assert made == [step % 5 == 4 for step in range(12)]
    frozen = search_of(replace(SETTINGS, train_weights=False))
    before = copy.deepcopy(frozen.supernet.state_dict())
    logits = frozen.alpha.logits.detach().clone()
    assert all(frozen.step().arch_loss is not None for _ in range(4))
    assert_same_bits(before, frozen.supernet.state_dict())
    assert not torch.equal(frozen.alpha.logits, logits)


def test_a_warm_up_leaves_alpha_alone_and_draws_uniformly():
    search = search_of(replace(SETTINGS, arch_every=0))
    before = search.alpha.logits.detach().clone()
    assert torch.equal(search._path_probs()[0], torch.full((3,), 1 / 3))
    assert all(search.step().arch_loss is None for _ in range(8))
    assert torch.equal(search.alpha.logits, before)


def test_two_path_steps_leave_the_other_probabilities_alone():
    search = search_of(replace(SETTINGS, estimator="two-path", train_weights=False))
    for _ in range(8):
        logits, probs = search.alpha.logits.detach().clone(), search.alpha.probs().detach()
        search.step()
        touched = search.alpha.logits != logits
        assert (touched.sum(1) == 2).all()
        torch.testing.assert_close(search.alpha.probs()[~touched], probs[~touched], rtol=1e-12, atol=0)
        assert not torch.allclose(search.alpha.probs()[touched], probs[touched], rtol=1e-6)


def test_records_tell_cost_entropy_and_skips():
    search = search_of(replace(SETTINGS, train_weights=False))
    for _ in range(3):
        record = search.step()
    probs = torch.softmax(search.alpha.logits.detach(), 1)
    cost = COSTS.fixed + sum(p * c for row, costs in zip(probs.tolist(), COSTS.candidates, strict=True)
                             for p, c in zip(row, costs, strict=True))  # fmt: skip
    assert record.expected_cost == pytest.approx(cost, rel=1e-12)
    assert record.entropy == pytest.approx(float(-(probs * probs.log()).sum(1).mean()), rel=1e-12)
    assert record.skip_share == pytest.approx(float(probs[1:, 2].mean()), rel=1e-12)
    assert (record.num_alive, record.multiplier) == (9, search.objective.multiplier)


def test_learning_rate_follows_the_cosine():
    search, seen = search_of(replace(SETTINGS, num_steps=5)), []
    while not search.done:
        search.step()
        seen.append(search.weights.optimiser.param_groups[0]["lr"])
    assert seen == [cosine(step, 5, 0.05) for step in range(5)]
    assert seen[0] == 0.05
    assert cosine(5, 5, 0.05) == pytest.approx(0, abs=1e-12)
    assert [cosine(s, 10, 1.0, warmup_steps=3) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]


# Pruning


def test_dropped_candidates_and_their_optimiser_state_are_released():
    search = search_of(MODES["pruned"])
    weak = {
        (i, j): [weakref.ref(p) for p in search.supernet.layers[layer].candidates[j].parameters()]
        for i, layer in enumerate(search.supernet.position_layers)
        for j in range(3)
    }
    run(search)
    gc.collect()
    dropped = [tuple(key) for key in (~search.alpha.alive).nonzero().tolist()]
    assert len([key for key in dropped if weak[key]]) >= 2
    for key, references in weak.items():
        assert all((reference() is None) == (key in dropped) for reference in references)
    living = set(search.supernet.parameters())
    assert {p for group in search.weights.optimiser.param_groups for p in group["params"]} == living
    assert set(search.weights.optimiser.state) <= living
    assert search.alpha.probs()[~search.alpha.alive].eq(0).all()
    assert search.alpha.alive.any(1).all()


# Budget, collapse and refusals


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_expected_cost_meets_the_budget(share):
    budget = COSTS.minimum + share * (COSTS.maximum - COSTS.minimum)
    objective = ObjectiveSettings(kind="budget", reference=budget, dual_rate=0.5)
    settings = replace(SETTINGS, num_steps=200, train_weights=False, objective=objective, batch_size=4)
    search = search_of(settings)
    costs = [search.step().expected_cost for _ in range(200)]
    assert sum(costs[-100:]) / 100 <= 1.03 * budget


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": replace(BUDGET, reference=0.5 * COSTS.minimum)}, "the space cannot go below"),
        ({"objective": replace(BUDGET, reference=0.0)}, "expected a positive cost in ms"),
        ({"objective": replace(BUDGET, kind="mul_log", reference=0.9)}, "must be above 1 ms"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(InputError) as caught:
        search_of(replace(SETTINGS, **change))
    assert message in str(caught.value)


def test_a_cost_table_of_another_space_is_refused():
    with pytest.raises(InputError, match="of another space"):
        Search(tiny_supernet(tiny_space()), COSTS, SETTINGS, TinyData(), seed=0)


def test_a_batch_smaller_than_the_ranks_is_refused():
    many = SimpleNamespace(rank=0, num_ranks=100)
    with pytest.raises(InputError, match="fewer images than ranks, 100"):
        Search(tiny_supernet(SPACE), COSTS, SETTINGS, TinyData(), seed=0, sync=many)


def test_a_batch_smaller_than_the_paths_of_all_ranks_is_refused_where_weights_are_trained():
    two = SimpleNamespace(rank=0, num_ranks=2)
    settings = replace(SETTINGS, batch_size=9, sharing=SharingSettings(num_paths=5))
    with pytest.raises(InputError, match="fewer images than all paths on 2 ranks; give at least 10"):
        Search(tiny_supernet(SPACE), COSTS, settings, TinyData(), seed=0, sync=two)


def test_how_paths_would_share_a_step_is_left_aside_where_none_is_made():
    """Before: an average of weights that never moved in every checkpoint, and a batch too small for paths not drawn."""
    sharing = SharingSettings(num_paths=20, average=0.9)
    search = search_of(replace(SETTINGS, train_weights=False, sharing=sharing))
    search.step()
    assert search.state_dict()["weights"]["average"] == {}
