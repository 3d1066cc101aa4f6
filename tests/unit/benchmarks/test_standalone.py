"""The comparison of a found network with random ones: which these are, what is kept, what is said of spreads."""

from dataclasses import replace
from statistics import median, stdev

import pytest
import torch

from benchmarks.common import OneBatch, batch_of
from benchmarks.macro.supernets import Run
from benchmarks.standalone import NUM_TYPICAL, SLACK, Networks, Trained, choose, random_paths, summary, train_alone
from supernet.cost import macs_table
from supernet.errors import InputError, RunError
from supernet.files import write_whole
from supernet.plain import to_json
from supernet.pool import pool_paths
from supernet.presets import load_space

SPACE = load_space("mbconv-32px")
COSTS = macs_table(SPACE)


def test_random_networks_take_as_much_as_the_budget_and_a_longer_list_begins_with_a_shorter():
    paths = random_paths(COSTS, 16e6, 12, 0)
    assert len(set(paths)) == 12
    assert all((1 - SLACK) * 16e6 <= COSTS.total(path) <= 16e6 for path in paths)
    assert all(0 <= j < len(row) for path in paths for j, row in zip(path, COSTS.candidates, strict=True))
    assert paths[:5] == random_paths(COSTS, 16e6, 5, 0)
    assert paths != random_paths(COSTS, 16e6, 12, 1)


def test_what_was_found_by_another_table_is_refused(tmp_path):
    run, file = Run("tiny-batch", 2.0, 0, tmp_path, SPACE.name), "tiny-batch-e2-s0/macs/networks.json"
    budget = median(COSTS.total(path) for path in pool_paths(SPACE, NUM_TYPICAL, 0))
    found = tuple(0 for _ in SPACE.positions)
    write_whole(tmp_path / file, to_json(Networks(budget, found, ())).encode())
    kept = choose(run, None, COSTS, 3)
    assert (kept.found, kept.random) == (found, random_paths(COSTS, budget, 3, 0))
    with pytest.raises(InputError, match=r"networks\.json: kept within a budget of .* take another --work"):
        choose(run, None, COSTS.scaled(1.01), 3)


def test_what_was_trained_is_not_trained_again(tmp_path):
    path = tuple(0 for _ in SPACE.positions)
    done = Trained("found", 2, 0.25, 1000, 0.5)
    kept = SPACE.architecture(path).id.removeprefix("mbconv-32px:")
    write_whole(tmp_path / f"found-s2-{kept}.json", to_json(done).encode())

    class NoData:
        def num_steps(self, epochs, batch_size):
            raise RunError("it is trained again")

    assert train_alone(SPACE, path, "found", 2, 1.0, NoData(), COSTS, tmp_path) == done
    with pytest.raises(RunError, match="again"):
        train_alone(SPACE, path, "found", 0, 1.0, NoData(), COSTS, tmp_path)
    other = (1, *path[1:])
    with pytest.raises(RunError, match="again"):
        train_alone(SPACE, other, "found", 2, 1.0, NoData(), COSTS, tmp_path)


def test_a_network_is_trained_and_judged(tmp_path):
    class TwoSteps(OneBatch):
        def num_steps(self, epochs, batch_size):
            return 2

    small = load_space("scattered-digits")
    path, costs = tuple(0 for _ in small.positions), macs_table(small)
    data = TwoSteps(*batch_of(small, 8, torch.device("cpu")))
    trained = train_alone(small, path, "random-0", 1, 0.1, data, costs, tmp_path)
    assert 0 <= trained.top1 <= 1
    assert trained == replace(trained, name="random-0", seed=1, latency_ms=costs.total(path))
    assert len(list(tmp_path.iterdir())) == 1, "the checkpoint goes when the result is kept"
    assert train_alone(small, path, "random-0", 1, 0.1, data, costs, tmp_path) == trained


def test_spreads_come_first_and_the_found_network_has_its_place():
    found = [Trained("found", seed, 0.2, 1, top1) for seed, top1 in enumerate((0.70, 0.72, 0.74))]
    random = [Trained(f"random-{i}", 0, 0.2, 1, top1) for i, top1 in enumerate((0.60, 0.71, 0.73))]
    said = summary([*found, *random])
    assert list(said)[:2] == ["spread_networks", "spread_seeds"]
    assert said["spread_seeds"] == pytest.approx(stdev((0.70, 0.72, 0.74)))
    assert said["spread_networks"] == pytest.approx(stdev((0.60, 0.71, 0.73)))
    assert (said["num_random"], said["num_random_beaten"]) == (3, 2)
    assert said["best_random_top1"] == 0.73
    assert summary(found[:1])["spread_seeds"] is None
