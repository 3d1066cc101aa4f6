"""The cost of further trials and the area of fronts: budgets of smaller sweeps, shares, areas by brute force."""

import json
import math
import random
import statistics
import sys

import pytest

from benchmarks.sweep_cost import HIGHEST, LOWEST, MODES, Range, Trial, fractions, hypervolume, main, summary
from supernet.errors import InputError

WITHIN = Range(1.0, 100.0)


def test_smaller_sweeps_have_some_of_the_budgets_of_the_largest_and_its_ends():
    every = fractions(12, 12)
    assert (every[0], every[-1]) == (LOWEST, pytest.approx(HIGHEST))
    for number in (2, 4, 8):
        some = fractions(number, 12)
        assert len(set(some)) == number
        assert set(some) <= set(every)
        assert (some[0], some[-1]) == (every[0], every[-1])


def test_a_front_of_one_trial_is_refused_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["sweep_cost", "--trials", "1", "4", "--work", str(tmp_path / "runs")])
    with pytest.raises(InputError, match="at least 2"):
        main()
    assert not (tmp_path / "runs").exists()


def test_a_network_below_the_lowest_budget_earns_nothing_by_being_cheaper():
    assert hypervolume([(0.5, 0.8)], WITHIN) == hypervolume([(0.9, 0.8)], WITHIN) == pytest.approx(0.8)
    assert hypervolume([(0.5, 0.6), (0.9, 0.8)], WITHIN) == pytest.approx(0.8)


def test_an_area_is_the_mean_of_what_is_reached_over_the_logarithm_of_the_cost():
    assert hypervolume([(1.0, 0.8)], WITHIN) == pytest.approx(0.8)
    assert hypervolume([(10.0, 0.8)], WITHIN) == pytest.approx(0.4)
    assert hypervolume([(10.0, 0.8), (20.0, 0.7)], WITHIN) == pytest.approx(0.4), "a worse one adds nothing"
    draws = random.Random(0)
    points = [(math.exp(draws.uniform(0, math.log(100))), draws.random()) for _ in range(9)]
    grid = [math.exp(math.log(100) * (i + 0.5) / 20_000) for i in range(20_000)]
    mean = sum(max([top1 for cost, top1 in points if cost <= at], default=0.0) for at in grid) / len(grid)
    assert hypervolume(points, WITHIN) == pytest.approx(mean, abs=1e-3)


def trials(shared_seconds, shared_top1, targets=("macs",), seed=0):
    return [
        Trial(seed, target, mode, fraction, 100 * fraction, (0,), 100 * fraction, seconds, 100.0, top1)
        for target in targets
        for mode, seconds, top1 in (("shared", shared_seconds, shared_top1), ("independent", 60.0, 0.8))
        for fraction in fractions(4, 4)
    ]


def test_a_further_trial_is_told_as_a_share_of_one_search_and_a_front_as_a_share_of_the_other():
    found = summary(trials(4.0, 0.796), 40.0, 10.0, {"macs": WITHIN}, [2, 4])
    assert found["independent_search_cpu_seconds"] == 100.0
    assert found["further_trial"] == {"value": 0.04, "wanted": "<= 0.05", "met": True}
    assert found["further_trial_with_final_training"] == pytest.approx(0.52)
    assert found["4_trials_per_target"]["searches"] == pytest.approx(0.66)
    for number in (2, 4):
        told = found[f"{number}_trials_per_target"]["macs"]
        assert told["shared_by_independent"] == {"value": 0.995, "wanted": ">= 0.98", "met": True}
        assert told["top1_difference"]["mean"] == pytest.approx(-0.004)
        assert told["top1_difference"]["num_pairs"] == number
        assert told["spread_of_seeds"] is None
    worse = summary(trials(9.0, 0.7), 40.0, 10.0, {"macs": WITHIN}, [2, 4])
    assert not worse["further_trial"]["met"]
    assert not worse["4_trials_per_target"]["macs"]["shared_by_independent"]["met"]


def test_trials_of_all_targets_are_counted():
    both = {"macs": WITHIN, "params": WITHIN}
    found = summary(trials(4.0, 0.8, tuple(both)), 40.0, 10.0, both, [2, 4])
    assert found["4_trials_per_target"]["searches"] == pytest.approx((40 + 10 + 8 * 4) / 100)


def test_seeds_are_averaged_and_their_spread_is_told():
    every = trials(4.0, 0.76) + trials(4.0, 0.84, seed=1)
    found = summary(every, 40.0, 10.0, {"macs": WITHIN}, [4])
    told = found["4_trials_per_target"]["macs"]
    assert told["shared_by_independent"]["value"] == pytest.approx(1.0)
    assert told["spread_of_seeds"] == pytest.approx(statistics.stdev((0.95, 1.05)))
    differences = [-0.04] * 4 + [0.04] * 4
    assert found["top1_difference"]["standard_error"] == pytest.approx(statistics.stdev(differences) / math.sqrt(8))


def test_a_whole_run_goes_on_from_what_is_kept_and_refuses_other_settings(monkeypatch, tmp_path, capsys):
    def run(*changed):
        given = "--space scattered-digits --targets macs --trials 2 --warmup-steps 2 --own-steps 2 --search-steps 2"
        given += f" --train-steps 2 --pool-size 4 --candidates 2 --images 64 --json --work {tmp_path / 'runs'}"
        monkeypatch.setattr(sys, "argv", ["sweep_cost", *given.split(), *changed])
        main()
        return json.loads(capsys.readouterr().out)

    first = run()
    assert [(row["mode"], row["fraction"]) for row in first["rows"]] == [
        (mode, fraction) for fraction in fractions(2, 2) for mode in MODES
    ]
    assert run() == first
    with pytest.raises(InputError, match=r"runs: kept under own_steps 2, asked for is 3; .* another --work"):
        run("--own-steps", "3")
    kept = next((tmp_path / "runs" / "seed-0").glob("macs-shared-*.json"))
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "budget": 1.0}))
    with pytest.raises(InputError, match="the table now gives"):
        run()
