"""The additive model of judged paths: what it finds, what it predicts of paths left out, how sure it is."""

import itertools
import random

import pytest
import torch

from supernet.pool import Judged, fit_losses
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


def test_a_single_path_says_only_its_own_loss():
    model = fit_losses([Judged((0, 1, 2, 3), 0.5, 1.5)], COUNTS)
    assert model.loss((2, 0, 0, 0)) == pytest.approx(1.5)
