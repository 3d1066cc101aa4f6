"""Filling a table: known truth recovered, noisy runs never written."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from latency_cases import made_up_result, simulated_run, stats, true_costs

from latency.errors import MachineTooNoisy
from latency.tables.build import ROW_TOLERANCE, build_table, row_noise
from latency.tables.chains import calibration_paths, chain_key, plan_chains
from latency.tables.describe import uncertainty
from latency.tables.file import load_table
from latency.target import load_target
from supernet.errors import InputError
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


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


def test_a_space_without_choices_is_settled_as_one_with_a_single_position(tmp_path: Path) -> None:
    plans = []

    def run(job, progress):
        plans.append(job.plan)
        return simulated_run(job, progress)

    build_table(load_space("mobilenet-v2-32px"), TARGET, tmp_path, run=run)
    assert [plan.tolerance for plan in plans] == [ROW_TOLERANCE]


def test_a_valid_table_is_kept(tmp_path: Path) -> None:
    first = build_table(SPACE, TARGET, tmp_path, run=simulated_run)
    again = build_table(SPACE, TARGET, tmp_path, run=partial(simulated_run, scale=9.0))
    assert again == first


def test_a_table_that_is_measured_anew_stays_until_the_new_one_is_there(tmp_path: Path) -> None:
    first = build_table(SPACE, TARGET, tmp_path, run=simulated_run)

    def disturbed(job, progress):
        return replace(simulated_run(job, progress), clean_share=0.1)

    with pytest.raises(MachineTooNoisy):
        build_table(SPACE, TARGET, tmp_path, rebuild=True, run=disturbed)
    assert load_table(tmp_path, SPACE, TARGET) == first
    second = build_table(SPACE, TARGET, tmp_path, rebuild=True, run=partial(simulated_run, scale=9.0))
    assert load_table(tmp_path, SPACE, TARGET) == second != first


def test_an_interrupted_build_goes_on_with_the_samples_of_its_own_machine_alone(tmp_path: Path, monkeypatch) -> None:
    folders = []

    def interrupted(job, progress):
        folders.append(job.work_folder)
        raise KeyboardInterrupt

    for versions in ({}, {}, {"onnxruntime": "9.9"}):
        monkeypatch.setattr("latency.tables.build.fingerprint", lambda space, target, facts=versions: facts)
        with pytest.raises(KeyboardInterrupt):
            build_table(SPACE, TARGET, tmp_path, run=interrupted)
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.parametrize("kind", ["unclean", "unlike", "phases", "networks", "network", "chain", "rows"])
def test_a_disturbed_run_writes_nothing_and_says_why(tmp_path: Path, kind: str) -> None:
    def disturbed(job, progress):
        quiet = simulated_run(job, progress)
        worse = dict(quiet.stats)
        if kind == "unclean":
            return replace(quiet, clean_share=0.1)
        if kind == "unlike":
            return replace(quiet, num_phases=2, num_unlike=6)
        if kind == "phases":
            return replace(quiet, num_phases=1)
        if kind == "rows":  # each chain repeats well enough, all together do not
            short = {key: stats(one.latency_ms, error=0.095) for key, one in worse.items() if key.count("-") < 2}
            return replace(quiet, stats={**worse, **short})
        whole = [chain_key(SPACE.kept(path)) for path in calibration_paths(SPACE)]
        if kind == "networks":
            return replace(quiet, stats=worse | {key: stats(worse[key].latency_ms, error=0.06) for key in whole})
        key = whole[0] if kind == "network" else next(iter(worse))
        worse[key] = stats(worse[key].latency_ms, error=0.14)
        return replace(quiet, stats=worse)

    wanted = {
        "unclean": "only 10% of the calls ran undisturbed",
        "unlike": "in 6 of 8 phases a reference kernel, or all items together, were slower or faster",
        "phases": "1 phases in which every item had an undisturbed call",
        "networks": r"its 16 whole networks are known to 6\.\d% \(5\.0% allowed\)",
        "network": r"1 of \d+ items are known worse than to 10\.0% \(worst: .*, 14\.0%\)",
        "chain": r"known worse than to 10\.0%",
        "rows": r"the errors of its rows add up to \d+\.\d% of a network \(5\.0% allowed\)",
    }[kind]
    with pytest.raises(MachineTooNoisy, match=wanted) as caught:
        build_table(SPACE, TARGET, tmp_path, run=disturbed)
    assert "--seconds" in str(caught.value)
    assert not list(tmp_path.glob("*.parquet"))


def test_one_uncertain_network_of_many_does_not_refuse_a_table(tmp_path: Path) -> None:
    """The smallest ones are moved most by where they lie in memory, and the calibration rests on all of them."""

    def run(job, progress):
        quiet = simulated_run(job, progress)
        key = chain_key(SPACE.kept(calibration_paths(SPACE)[0]))
        return replace(quiet, stats=quiet.stats | {key: stats(quiet.stats[key].latency_ms, error=0.09)})

    assert build_table(SPACE, TARGET, tmp_path, run=run).calibration.scale == pytest.approx(1.0, rel=0.01)


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


def test_a_table_says_how_well_its_rows_are_known(tmp_path: Path) -> None:
    def run(job, progress):
        quiet = simulated_run(job, progress)
        whole = {chain_key(SPACE.kept(path)) for path in calibration_paths(SPACE)}
        chains = {key: stats(one.latency_ms, error=0.01) for key, one in quiet.stats.items() if key not in whole}
        return replace(quiet, stats=quiet.stats | chains)

    table = build_table(SPACE, TARGET, tmp_path, run=run)
    assert 0.005 < table.info["row_noise"] <= 0.02
    assert f"add up to at most {table.info['row_noise']:.1%} of a network" in uncertainty(table)


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
