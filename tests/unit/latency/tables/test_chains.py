"""Which chains and networks are measured: all candidates, equal layers once, networks that tell the terms."""

import random
import statistics
from dataclasses import replace

import pytest
import torch

from latency.tables.calibrate import CalibrationNetwork, fit
from latency.tables.chains import calibration_paths, network_bytes, plan_chains
from latency.target import load_target
from supernet.cost import count_cost, macs_table, params_table, trace
from supernet.network import build_blocks
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
            y = build_blocks(space, plan.chain, seed=0).eval()(x)
            assert tuple(y.shape[1:]) == shapes[plan.layer].out_shape
            if plan.before:
                before = build_blocks(space, plan.before, seed=0).eval()(x)
                assert tuple(before.shape[1:]) == shapes[plan.layer].in_shape
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


def test_memory_read_between_calls_is_that_of_a_typical_network() -> None:
    space = load_space("proxyless-imagenet")
    random_networks = calibration_paths(space)[2:5]
    params = [count_cost(space, space.architecture(path))["num_params"] for path in random_networks]
    assert 4 * min(params) < network_bytes(space, TARGET) < 4 * max(params)
    assert network_bytes(space, TARGET) == 4 * network_bytes(space, load_target("ort-cpu-int8-1t"))
