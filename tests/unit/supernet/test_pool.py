"""The additive model of judged paths: what it finds, what it predicts of paths left out, how sure it is."""

import itertools
import random

import pytest
import torch

from supernet.cost import count_cost
from supernet.errors import InputError
from supernet.gates import sample_path
from supernet.pool import Judged, drops_last, fit_losses, pool_paths
from supernet.presets import load_space
from supernet.rng import generator

COUNTS = (3, 2, 3, 4)
EFFECTS = ((0.3, 0.0, 0.1), (0.2, 0.0), (0.0, 0.5, 0.1), (0.0, 0.1, 0.2, 0.3))
PATHS = list(itertools.product(*map(range, COUNTS)))


def additive(path):
    return 1.0 + sum(row[j] for row, j in zip(EFFECTS, path, strict=True))


def pool_of(count, noise=0.0, seed=0):
    draws = random.Random(seed)
    return [Judged(path, 0.5, additive(path) + draws.gauss(0, noise)) for path in draws.sample(PATHS, count)]


def test_an_additive_loss_is_found_from_a_few_paths():
    model = fit_losses(pool_of(24), COUNTS)
    for path in PATHS:
        assert model.loss(path) == pytest.approx(additive(path), abs=0.01)
    assert model.error < 0.01


def test_left_out_predictions_are_those_of_a_model_without_the_path():
    pool = pool_of(30, noise=0.1)
    model = fit_losses(pool, COUNTS)
    # The penalty is chosen on the whole pool, so a model without a path may take another one: near, not equal.
    for number, found in enumerate(pool[:5]):
        without = fit_losses(pool[:number] + pool[number + 1 :], COUNTS)
        assert model.left_out[number] == pytest.approx(without.loss(found.path), abs=0.02)
    misses = [found.loss - left for found, left in zip(pool, model.left_out, strict=True)]
    assert model.error == pytest.approx((sum(miss**2 for miss in misses) / len(misses)) ** 0.5)


def test_a_fit_over_noisy_judgements_is_nearer_to_the_truth_than_they_are():
    pool = pool_of(60, noise=0.15)
    model = fit_losses(pool, COUNTS)
    judged = sum((found.loss - additive(found.path)) ** 2 for found in pool)
    fitted = sum((model.loss(found.path) - additive(found.path)) ** 2 for found in pool)
    assert fitted < 0.4 * judged


def test_drawn_effects_spread_as_far_as_the_judgements_leave_open():
    few, many = (fit_losses(pool_of(count, noise=0.15), COUNTS) for count in (12, 70))

    def contrasts(effects):  # what is added to all candidates of a position tells no paths apart
        return torch.cat([row[:count] - row[:count].mean() for row, count in zip(effects, COUNTS, strict=True)])

    def drawn(model):
        return torch.stack([contrasts(model.draw(generator("effects", i))) for i in range(400)])

    assert drawn(many).std(0).mean() < 0.6 * drawn(few).std(0).mean()
    torch.testing.assert_close(drawn(many).mean(0), contrasts(many.effects), atol=0.02, rtol=0)


def test_a_choice_that_was_never_seen_is_the_least_sure():
    pool = [found for found in pool_of(70, noise=0.1) if found.path[3] != 3]
    model = fit_losses(pool, COUNTS)
    drawn = torch.stack([model.draw(generator("unseen", i)) for i in range(300)])[:, 3]
    drawn = drawn - drawn[:, :3].mean(1, keepdim=True)
    assert drawn[:, 3].std() > 2 * drawn[:, 0].std()


def test_a_pool_holds_nearly_whole_and_nearly_empty_networks_as_often_as_mixed_ones():
    space = load_space("nas-bench-macro")
    paths = pool_paths(space, 400, seed=0)
    assert len(set(paths)) == len(paths) == 400
    assert pool_paths(space, 100, seed=0) == paths[:100]
    assert pool_paths(space, 100, seed=1) != paths[:100]
    layers = [sum(choice != 2 for choice in path) for path in paths]
    assert layers.count(1) >= 6, "of 400 paths drawn evenly 1 has a single layer"
    assert layers.count(8) >= 40, "of 400 paths drawn evenly 16 have all eight"


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ((0, 2, 2, 2, 1, 0, 2, 1), (0, 2, 2, 1, 2, 0, 1, 2)),
        ((2, 2, 2, 2, 2, 2, 2, 2), (2, 2, 2, 2, 2, 2, 2, 2)),
        ((0, 1, 0, 1, 0, 1, 0, 1), (0, 1, 0, 1, 0, 1, 0, 1)),
    ],
)
def test_a_row_drops_its_last_blocks(path, same):
    """Rows of NAS-Bench-Macro: 0; 1; 2; 3 and 4; 5; 6 and 7. The first layers of its stages cannot be dropped."""
    space = load_space("nas-bench-macro")
    assert drops_last(space, path) == same
    first, second = (space.architecture(p) for p in (path, same))
    assert count_cost(space, first) == count_cost(space, second)


def test_a_pool_leaves_out_candidates_that_were_dropped():
    space = load_space("digits")
    counts = [len(position.candidates) for position in space.positions]
    alive = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    alive[:, 0] = False
    for path in pool_paths(space, 20, 0, alive):
        assert all(0 < choice < count for choice, count in zip(path, counts, strict=True)), path


def test_a_pool_keeps_paths_whose_blocks_cannot_move_for_dropped_candidates():
    space = load_space("nas-bench-macro")
    alive = torch.ones(8, 3, dtype=torch.bool)
    alive[3], alive[4, 2] = torch.tensor([False, False, True]), False  # of this row only the last block is left
    paths = pool_paths(space, 50, 0, alive)
    assert len(paths) == 50
    assert all(path[3] == 2 and path[4] != 2 for path in paths)


def test_what_poor_paths_say_of_a_choice_counts_more_than_what_good_ones_do():
    """The last choice helps where the second position holds its worse candidate, and does nothing elsewhere."""
    pool = [
        Judged((i, j, k, m), 0.5, 1.0 + j + 0.05 * i + 0.05 * k - 0.3 * j * (m > 0))
        for i, j, k, m in itertools.product(range(3), range(2), range(3), range(2))
    ]
    effects = fit_losses(pool, COUNTS).effects[3]
    assert 0.2 < effects[0] - effects[1] < 0.3, "0.15 is the mean, 0.3 what the poor ones say"


def test_no_more_paths_are_drawn_than_are_wanted(monkeypatch):
    drawn = []
    monkeypatch.setattr("supernet.pool.sample_path", lambda probs, draws: drawn.append(1) or sample_path(probs, draws))
    assert len(pool_paths(load_space("proxyless-imagenet"), 20, seed=0)) == 20
    assert len(drawn) < 30


def test_a_model_of_no_path_is_refused():
    with pytest.raises(InputError, match=r"no path was judged .* give a pool, or use strategy 'judged'"):
        fit_losses([], COUNTS)


def test_a_single_path_says_only_its_own_loss():
    model = fit_losses([Judged((0, 1, 2, 3), 0.5, 1.5)], COUNTS)
    assert model.loss((2, 0, 0, 0)) == pytest.approx(1.5)
