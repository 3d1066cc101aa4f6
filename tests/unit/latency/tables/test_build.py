"""Filling a table: the right chains, known truth recovered, noisy runs never written."""

import random
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from latency_cases import made_up_result, simulated_run, stats, true_costs

from latency.errors import MachineTooNoisy
from latency.graphs.model import build_chain
from latency.measuring.sentinels import SentinelStats
from latency.tables.build import build_table, row_noise
from latency.tables.calibrate import CalibrationNetwork, fit
from latency.tables.chains import calibration_paths, chain_key, network_bytes, plan_chains
from latency.tables.file import load_table
from latency.target import load_target
from supernet.cost import count_cost, macs_table, params_table, trace
from supernet.errors import InputError
from supernet.presets import load_space, preset_names

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


@pytest.mark.parametrize("name", preset_names("spaces"))
def test_every_candidate_has_chains_that_run(name: str) -> None:
    space = load_space(name)
    plans = plan_chains(space)
    wanted = [(layer.name, op.short) for layer in space.layers for op in layer.candidates if op.name != "zero"]
    assert [(plan.layer, plan.op) for plan in plans] == wanted
    shapes = {traced.layer.name: traced for traced in trace(space)}
    with torch.device("meta"):
        for plan in plans[:: max(1, len(plans) // 12)]:
            x = torch.empty(1, *trace(space)[plan.chain[0][0]].in_shape)
            y = build_chain(space, plan.chain)(x)
            assert tuple(y.shape[1:]) == shapes[plan.layer].out_shape
            if plan.before:
                assert tuple(build_chain(space, plan.before)(x).shape[1:]) == shapes[plan.layer].in_shape
            assert plan.chain == (*plan.before, *plan.chain[-plan.num_layers :])


def test_equal_layers_are_measured_together() -> None:
    """The space of the paper has 66 distinct blocks beside stem, first block, mix and classifier."""
    space = load_space("proxyless-imagenet")
    plans = plan_chains(space)
    assert len(plans) == 21 * 6 + 4
    assert len({plan.chain for plan in plans}) == 66 + 4
    of = {(plan.layer, plan.op): plan for plan in plans}
    assert of["stage2.1", "k7e6"].chain == of["stage2.3", "k7e6"].chain
    assert [space.layers[i].name for i, _ in of["stage2.1", "k7e6"].chain] == [f"stage2.{i}" for i in range(4)]
    assert of["stage2.0", "k7e6"].num_layers == of["classifier", "classifier"].num_layers == 1


def test_the_layer_before_is_of_typical_size() -> None:
    space = load_space("proxyless-imagenet")
    before = {space.layers[i].candidates[c].short for plan in plan_chains(space) for i, c in plan.before}
    assert before == {"conv_k3", "k3e1", "k3e6", "conv_k1"}, "k3e6 is the fourth of six by MACs"


def test_calibration_has_the_smallest_and_the_largest_network() -> None:
    paths = calibration_paths(SPACE)
    macs = [count_cost(SPACE, SPACE.architecture(path))["num_macs"] for path in paths]
    assert paths[0] == (0, 6, 6, 0, 6, 6)
    assert paths[1] == (5,) * 6
    assert macs[0] == min(macs)
    assert macs[1] == max(macs)
    assert len(set(paths)) == len(paths) == 16
    assert paths == calibration_paths(load_space("digits"))


def test_calibration_leaves_half_of_a_small_space_to_verify_with() -> None:
    rows = tuple(row for row in SPACE.rows if row.name != "stage2")
    small = replace(SPACE, rows=tuple(replace(row, candidates=row.candidates[:2], num_blocks=1) for row in rows))
    assert small.num_architectures == 2
    assert len(calibration_paths(small)) == 2
    small = replace(SPACE, rows=tuple(replace(row, candidates=row.candidates[:3]) for row in rows))
    assert small.num_architectures == 3 * 4 * 4
    assert len(calibration_paths(small)) == 16
    small = replace(
        SPACE,
        rows=tuple(replace(row, candidates=row.candidates[:2], num_blocks=min(2, row.num_blocks)) for row in rows),
    )
    assert small.num_architectures == 2 * 3
    assert len(calibration_paths(small)) == 3


def test_calibration_networks_tell_what_parameters_cost() -> None:
    """Wide early and wide late ones among them: uniform networks would leave the figure three times as uncertain."""
    space, rng = load_space("proxyless-imagenet"), random.Random(0)
    params, macs = params_table(space), macs_table(space)
    found = []
    for _ in range(20):
        networks = []
        for path in calibration_paths(space):
            total, num_params = macs.total(path) / 1e8, params.total(path)
            measured = (1.1 * total - 0.2 + 0.1 * num_params / 1e6) * rng.gauss(1.0, 0.01)
            networks.append(CalibrationNetwork("", num_params, total, measured, 0.0))
        found.append(fit(networks).params_ms)
    assert statistics.fmean(found) == pytest.approx(0.1, abs=0.01)
    assert statistics.stdev(found) < 0.03


@pytest.mark.parametrize(("scale", "overhead"), [(1.0, 0.0), (1.18, 0.0), (1.05, 0.4)])
def test_known_truth_is_recovered(tmp_path: Path, scale: float, overhead: float) -> None:
    run = partial(simulated_run, scale=scale, overhead_ms=overhead)
    table = build_table(SPACE, TARGET, tmp_path, run=run)
    truth = true_costs(SPACE)
    for layer, raw in zip(SPACE.layers, table.costs(), strict=True):
        index = SPACE.layers.index(layer)
        assert raw == pytest.approx([truth[index, c] for c in range(len(layer.candidates))])
    assert table.calibration.scale == pytest.approx(scale)
    assert table.calibration.offset_ms == pytest.approx(overhead, abs=1e-9)
    assert table.calibration.rms < 1e-9
    assert load_table(tmp_path, SPACE, TARGET) == table


def test_a_valid_table_is_kept(tmp_path: Path) -> None:
    first = build_table(SPACE, TARGET, tmp_path, run=simulated_run)
    again = build_table(SPACE, TARGET, tmp_path, run=partial(simulated_run, scale=9.0))
    assert again == first


@pytest.mark.parametrize("kind", ["unclean", "drift", "moved", "phases", "network", "chain", "rows"])
def test_a_disturbed_run_writes_nothing_and_says_why(tmp_path: Path, kind: str) -> None:
    def disturbed(job, progress):
        quiet = simulated_run(job, progress)
        worse = dict(quiet.stats)
        if kind == "unclean":
            return replace(quiet, clean_share=0.1)
        if kind == "drift":
            return replace(quiet, sentinels={"cache": SentinelStats(0.1, 0.2)})
        if kind == "moved":
            return replace(quiet, moved=0.2)
        if kind == "phases":
            return replace(quiet, num_phases=1)
        if kind == "rows":  # each chain repeats well enough, all together do not
            short = {key: stats(one.latency_ms, error=0.045) for key, one in worse.items() if key.count("-") < 2}
            return replace(quiet, stats={**worse, **short})
        network = max(worse, key=len)
        key = network if kind == "network" else next(iter(worse))
        worse[key] = stats(worse[key].latency_ms, error=0.05 if kind == "network" else 0.09)
        return replace(quiet, stats=worse)

    wanted = {
        "unclean": "only 10% of the calls ran undisturbed",
        "drift": "'cache' slowed down by 20.0%",
        "moved": "all items together slowed down by 20.0%",
        "phases": "1 phases in which every item had an undisturbed call",
        "network": r"1 of 16 items are known worse than to 2\.0%",
        "chain": r"known worse than to 5\.0%",
        "rows": r"the errors of its rows add up to [2-9]\.\d% of a network \(2\.0% allowed\)",
    }[kind]
    with pytest.raises(MachineTooNoisy, match=wanted) as caught:
        build_table(SPACE, TARGET, tmp_path, run=disturbed)
    assert "--seconds" in str(caught.value)
    assert not list(tmp_path.glob("*.parquet"))


def test_the_error_of_a_chain_counts_as_often_as_a_network_takes_it() -> None:
    """Two equal layers are measured in one chain: with the candidate in both, a network has the chain's error once."""
    plans = plan_chains(SPACE)
    plan = next(plan for plan in plans if (plan.layer, plan.op) == ("stage1.1", "k3e3"))
    both, one = (SPACE.kept(path) for path in ((0, 0, 0, 0, 6, 6), (0, 0, 6, 0, 6, 6)))
    keys = {chain_key(chain) for p in plans for chain in (p.chain, p.before)} | {chain_key(both), chain_key(one)}
    quiet = made_up_result(dict.fromkeys(keys, 2.0))
    exact = {key: stats(2.0, error=0.0) for key in keys}
    noisy = replace(quiet, stats={**exact, chain_key(plan.chain): stats(2.0, error=0.01)})
    assert plan.num_layers == 2
    assert row_noise(plans, [both], noisy) == pytest.approx(0.01)
    assert row_noise(plans, [one], noisy) == pytest.approx(0.005)
    before = replace(quiet, stats={**exact, chain_key(plan.before): stats(2.0, error=0.01)})
    assert row_noise(plans, [both], before) == pytest.approx(0.02), "stage2.0 is measured against it too"


def test_a_difference_below_zero_counts_as_nothing(tmp_path: Path) -> None:
    """A block so cheap that noise makes its chain look faster than the chain before it."""

    def run(job, progress):
        quiet = simulated_run(job, progress)
        plan = next(plan for plan in plan_chains(SPACE) if plan.layer == "classifier")
        latencies = {key: one.latency_ms for key, one in quiet.stats.items()}
        latencies[chain_key(plan.chain)] = 0.9 * latencies[chain_key(plan.before)]
        return made_up_result(latencies)

    table = build_table(SPACE, TARGET, tmp_path, run=run)
    row = next(row for row in table.rows if row.layer == "classifier")
    assert row.raw_ms == 0.0
    assert row.chain_ms < row.before_ms


def test_short_chains_are_visited_more_often_than_networks(tmp_path: Path) -> None:
    """A row is the difference of two chains: its error must not be that of a few visits."""
    jobs = []

    def recorded(job, progress):
        jobs.append(job)
        return simulated_run(job, progress)

    build_table(SPACE, TARGET, tmp_path, run=recorded)
    plans = plan_chains(SPACE)
    befores = {chain_key(plan.before) for plan in plans if plan.before}
    visits = {item.key: item.visits for item in jobs[0].items}
    networks = {chain_key(SPACE.kept(path)) for path in calibration_paths(SPACE)}
    assert {visits[key] for key in networks} == {1}
    assert {visits[key] for key in befores} == {4}
    assert {visits[chain_key(plan.chain)] for plan in plans} == {2, 4}


def test_counted_targets_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        build_table(SPACE, load_target("macs"), tmp_path)


def test_memory_read_between_calls_is_that_of_a_typical_network() -> None:
    space = load_space("proxyless-imagenet")
    random_networks = calibration_paths(space)[2:5]
    params = [count_cost(space, space.architecture(path))["num_params"] for path in random_networks]
    assert 4 * min(params) < network_bytes(space, TARGET) < 4 * max(params)
    assert network_bytes(space, TARGET) == 4 * network_bytes(space, load_target("ort-cpu-int8-1t"))
