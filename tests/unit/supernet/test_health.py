"""Searches that learnt nothing, or break down, say so: on made-up numbers, and on tiny searches that really failed."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from supernet_tiny import TinyData, tiny_costs, tiny_space, tiny_supernet

from supernet.derive import Derivation, DeriveSettings, pick
from supernet.errors import RunError
from supernet.health import alike_within_error, unlearnt
from supernet.judging import PathJudge
from supernet.loop import Search
from supernet.objective import ObjectiveSettings
from supernet.rng import generator
from supernet.search_settings import SearchSettings

HEALTHY = {
    "entropy": 0.6,
    "start_entropy": math.log(6),
    "expected_cost": 4.9,
    "budget": 5.0,
    "top1s": [0.90, 0.86, 0.93, 0.80],
    "num_images": 1000,
    "num_classes": 10,
}
SETTINGS = SearchSettings(num_steps=8, batch_size=8, arch_every=2, arch_learning_rate=0.05, num_samples=3)
ALIKE = [0.90, 0.905, 0.895, 0.90]
NOTHING, HARDLY, BUDGET, GUESS = "learnt nothing: ", "hardly chose: ", "did not reach its budget", "than guessing"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"entropy": 0.99 * math.log(6)}, [NOTHING]),
        ({"entropy": 0.97 * math.log(6)}, []),
        ({"entropy": 0.97 * math.log(6), "top1s": ALIKE}, [HARDLY]),
        ({"entropy": 0.70 * math.log(6), "top1s": ALIKE}, []),
        ({"entropy": 0.97 * math.log(6), "top1s": []}, []),
        ({"expected_cost": 5.2}, []),
        ({"expected_cost": 5.3}, [BUDGET]),
        ({"expected_cost": 50.0, "budget": None}, []),
        ({"top1s": [0.11, 0.10]}, [GUESS]),
        ({"top1s": [0.13, 0.13]}, []),
        ({"entropy": math.log(6), "expected_cost": 9.0, "top1s": [0.1] * 4}, [NOTHING, BUDGET, GUESS]),
        ({"entropy": 0.0, "start_entropy": 0.0}, []),
    ],
)
def test_made_up_searches(changes, said):
    found = unlearnt(**{**HEALTHY, **changes})
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


@pytest.mark.parametrize("count", [2, 4, 8, 30])
def test_alike_is_a_chi_square_test_at_five_percent(count):
    quantile = chi2.ppf(0.95, count - 1)
    for factor, alike in ((0.97, True), (1.03, False)):
        offset = math.sqrt(factor * quantile * 0.25 / 1000 / count)
        top1s = [0.5 + offset if number % 2 else 0.5 - offset for number in range(count)]
        assert alike_within_error(top1s, 1000) is alike
    assert alike_within_error([1.0] * count, 50)
    assert not alike_within_error([0.5], 50)


def test_equal_paths_are_rarely_called_different():
    draws = generator("equal")
    different = 0
    for _ in range(400):
        hits = torch.binomial(torch.full((6,), 200.0), torch.full((6,), 0.8), generator=draws)
        different += not alike_within_error((hits / 200).tolist(), 200)
    assert 5 <= different <= 40  # 20 expected


class Shuffled(TinyData):
    """Labels that have nothing to do with the images."""

    def batches(self, split, batch_size, **options):
        labels = generator("labels", split)
        for images, known in super().batches(split, batch_size, **options):
            yield images, torch.randint(3, known.shape, generator=labels)


class Easy(TinyData):
    """Labels that stand in the images: class k is brighter by k."""

    def batches(self, split, batch_size, **options):
        for images, labels in super().batches(split, batch_size, **options):
            yield images + labels.view(-1, 1, 1, 1), labels


SPACE = tiny_space(blocks=2)
COSTS = tiny_costs(SPACE)
REFERENCE = 0.6 * COSTS.maximum


def verdict(data, num_steps=160, arch_learning_rate=0.05, **objective):
    """Search, derive as in a sweep, and return what is said about it."""
    asked = ObjectiveSettings("budget", reference=REFERENCE, **objective)
    settings = SearchSettings(
        num_steps, batch_size=32, arch_every=1, arch_learning_rate=arch_learning_rate, objective=asked
    )
    search = Search(tiny_supernet(SPACE), COSTS, settings, data, seed=0)
    while not search.done:
        record = search.step()
    judge = PathJudge(search.supernet, data, batch_size=32, recalibration_batches=4, limit=320)
    question = Derivation(
        search.alpha.probs(),
        COSTS,
        REFERENCE,
        judge,
        lambda attempt: generator("derive", attempt),
        settings=DeriveSettings(num_candidates=6, slack=0.5),
    )
    return unlearnt(
        entropy=record.entropy,
        start_entropy=search.start_entropy,
        expected_cost=record.expected_cost,
        budget=REFERENCE,
        top1s=[found.top1 for found in pick(question).judged],
        num_images=320,
        num_classes=SPACE.num_classes,
    )


def test_a_healthy_tiny_search_says_nothing():
    assert verdict(Easy(SPACE)) == []


def test_an_alpha_that_never_moved_is_told():
    found = verdict(Easy(SPACE), arch_learning_rate=1e-5)
    assert any(NOTHING in text for text in found)


def test_a_budget_that_was_never_reached_is_told():
    found = verdict(Easy(SPACE), num_steps=20, arch_learning_rate=0.01, dual_rate=1e-6, damping=0.0)
    assert any(BUDGET in text for text in found)


def test_labels_without_meaning_are_told():
    found = verdict(Shuffled(SPACE))
    assert any(GUESS in text for text in found)


def run(search):
    while not search.done:
        search.step()


class Broken(TinyData):
    """Images that are not numbers from batch 3 on."""

    def batches(self, split, batch_size, *, start=0, rank=0, num_ranks=1):
        for number, (images, labels) in enumerate(super().batches(split, batch_size, start=start), start):
            yield images + (float("nan") if number >= 3 else 0.0), labels


@pytest.mark.parametrize("train_weights", [True, False])
def test_a_loss_that_is_not_a_number_ends_the_search(train_weights):
    space = tiny_space(blocks=2)
    costs = tiny_costs(space)
    budget = ObjectiveSettings(kind="budget", reference=0.6 * costs.maximum, dual_rate=0.5)
    settings = replace(SETTINGS, objective=budget, num_steps=20, train_weights=train_weights, check_every=5)
    search = Search(tiny_supernet(space), costs, settings, Broken(space), seed=0)
    with pytest.raises(RunError, match=r"step \d+: (the loss is nan|alpha is not finite)"):
        run(search)
    assert 3 <= search.step_index <= 8


@pytest.mark.parametrize(
    ("kind", "blocks", "reference", "collapsed"),
    [
        ("budget", 3, 0.9, True),
        ("budget", 3, 0.0, False),  # the budget asks for it
        ("budget", 2, 0.9, False),  # two blocks of no use
        ("add_linear", 3, 0.9, False),  # the weight may ask for it
        ("mul_log", 3, 0.9, False),
    ],
)
def test_a_collapse_to_skips_is_said_unless_it_may_be_right(kind, blocks, reference, collapsed):
    space = tiny_space(blocks=blocks)
    costs = tiny_costs(space)
    asked = ObjectiveSettings(kind, reference=costs.minimum + reference * (costs.maximum - costs.minimum))
    search = Search(tiny_supernet(space), costs, replace(SETTINGS, objective=asked), TinyData(space), seed=0)
    with torch.no_grad():
        search.alpha.logits[1:, 2] = 30.0
        search.alpha.logits[0, costs.candidates[0].index(min(costs.candidates[0]))] = 30.0
    if collapsed:
        with pytest.raises(RunError, match="collapsed to skips"):
            search.step()
    else:
        assert search.step().skip_share > 0.98
