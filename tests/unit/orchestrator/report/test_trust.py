"""What finished networks say about the supernet that they were derived from: numbers, and the same in words."""

from dataclasses import replace
from itertools import combinations

import pytest
from report_cases import FAILED, done

from orchestrator.plan.result import TrialResult
from orchestrator.report.trust import trust_of


def sweep(pairs: list[tuple[float, float]], **more: float) -> list[TrialResult]:
    """Return finished trials of different networks with these losses on shared weights and accuracies."""
    return [
        replace(
            done(f"t{number}", "ort", 1.0 + number, 0.9, **more),
            architecture=f"net-{number}",
            shared_loss=loss,
            trained_top1=top1,
        )
        for number, (loss, top1) in enumerate(pairs)
    ]


PAIRS = [(1.9, 0.70), (1.8, 0.72), (1.7, 0.71), (1.6, 0.80), (1.5, 0.79), (1.4, 0.85), (1.3, 0.86), (1.2, 0.90)]


def test_tau_counts_pairs_that_agree() -> None:
    found = trust_of(sweep(PAIRS), shared=True)
    agree = [(a[0] < b[0]) == (a[1] > b[1]) for a, b in combinations(PAIRS, 2)]
    assert found.num_networks == 8
    assert found.tau == pytest.approx((2 * sum(agree) - len(agree)) / len(agree))
    assert found.tau_interval is not None
    low, high = found.tau_interval
    assert 0 < low < found.tau < high < 1
    assert found.sentences == [
        f"trust: shared weights rank the finished networks better than chance (Kendall's tau {found.tau:.2f}, "
        f"{low:.2f} to {high:.2f}; rests on 8 different networks)"
    ]


def test_an_interval_has_a_length_where_all_agree_and_gets_shorter_with_more_networks() -> None:
    lengths = []
    for number in (5, 8, 20):
        found = trust_of(sweep([(2.0 - i / 50, 0.5 + i / 50) for i in range(number)]), shared=True)
        assert found.tau == pytest.approx(1.0)
        assert found.tau_interval is not None
        lengths.append(found.tau_interval[1] - found.tau_interval[0])
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] > 0


@pytest.mark.parametrize(
    ("pairs", "shared", "text"),
    [
        (PAIRS[:4], True, "rests on 4 different networks: says nothing yet"),
        (PAIRS[:1], True, "rests on 1 different network: says nothing yet"),
        (PAIRS, False, "no finished networks share weights"),
        ([(loss, 1 - top1) for loss, top1 in PAIRS], True, "the wrong way round"),
        ([(1.5, 0.5), (1.4, 0.6), (1.3, 0.7), (1.2, 0.4), (1.1, 0.45)], True, "is not shown"),
        ([(1.5, 0.5)] * 6, True, "says nothing yet"),
    ],
)
def test_it_says_what_it_does_not_know(pairs: list[tuple[float, float]], shared: bool, text: str) -> None:
    (said,) = trust_of(sweep(pairs), shared=shared).sentences
    assert text in said


def test_what_a_delivered_file_loses_is_none_of_the_shared_weights() -> None:
    """Said before: a tau of 0.79 of a supernet that ranks all networks rightly, half of them delivered in int8."""
    losses = [(2.0 - i / 50, 0.5 + i / 200) for i in range(8)]
    results = [
        replace(result, validation_top1=(result.trained_top1 or 0.0) - 0.01 * (number % 2))
        for number, result in enumerate(sweep(losses))
    ]
    quantised = replace(results[0], trial="int8", target="ort-int8", validation_top1=0.4)
    assert trust_of([*results, quantised], shared=True).tau == pytest.approx(1.0)


def test_equal_networks_count_once_and_failed_trials_not_at_all() -> None:
    results = sweep(PAIRS[:5])
    again = replace(results[0], trial="again", trained_top1=0.9)
    found = trust_of([*results, again, FAILED], shared=True)
    assert found.num_networks == 5
    assert found.tau == trust_of([replace(results[0], trained_top1=0.8), *results[1:]], shared=True).tau


def test_random_paths_of_the_budget_stand_beside_what_was_found() -> None:
    better = sweep(PAIRS[:3], random_loss=2.5, num_random=8)
    worse = sweep(PAIRS[3:4], random_loss=1.1, num_random=4)
    found = trust_of([*better, *worse], shared=False)
    assert (found.num_trials, found.num_better, found.num_random) == (4, 3, 7)
    assert "in 3 of 4 trials" in found.sentences[1]
    assert "best of 7 random paths" in found.sentences[1]
