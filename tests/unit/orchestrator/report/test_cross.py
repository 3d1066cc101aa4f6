"""The cross table in words, as a grid and as plain data."""

import json

from report_cases import FAILED, done

from orchestrator.plan.cross import Column, Figure
from orchestrator.report.cross import cross_grid, cross_notes, cross_plain, home_cells, latencies_on

RESULTS = [done("t1", "torch", 9.0, 0.7), FAILED, done("o1", "ort", 1.0, 0.8), done("beaten", "ort", 2.0, 0.7)]


def column(target, noise="", **latencies):
    figures = {trial: Figure(ms, ms / 100, ms) for trial, ms in latencies.items()}
    return Column(target, dict.fromkeys(latencies, "k5e6-k3e3-skip"), figures, noise)


COLUMNS = {"torch": column("torch", t1=9.0, o1=12.0), "ort": column("ort", noise="too busy", t1=1.5, o1=1.0)}


def test_a_row_per_network_a_column_per_target_and_the_home_of_each_marked():
    assert cross_grid(COLUMNS, RESULTS) == [
        ["network", "top-1 at home", "torch", "ort"],
        ["o1", "80.0 %", "12.0 ± 0.1", "1.000 ± 0.01"],
        ["t1", "70.0 %", "9.000 ± 0.09", "1.500 ± 0.01"],
    ]
    assert home_cells(COLUMNS, RESULTS) == {(1, 3), (2, 2)}


def test_a_baseline_stands_after_the_networks_of_its_target_and_is_nobodys_home():
    known = done("o1-mobilenet-v2", "ort", 0.9, 0.85, baseline="mobilenet-v2")
    columns = {"ort": column("ort", o1=1.0, **{known.trial: 0.5})}
    results = [known, *RESULTS]
    assert [row[0] for row in cross_grid(columns, results)] == ["network", "o1", "o1-mobilenet-v2"]
    assert home_cells(columns, results) == {(1, 2)}
    assert cross_plain(columns, results, [])["home"][0]["num_others"] == 0


def test_an_unknown_error_is_not_written():
    figures = {"t1": Figure(9.0, None, 9.0)}
    unsure = {"torch": Column("torch", {"t1": "k5e6-k3e3-skip"}, figures, "too busy")}
    assert cross_grid(unsure, RESULTS)[1] == ["t1", "70.0 %", "9.000"]


def test_what_it_says_of_each_target_and_of_noise():
    torch, ort, noise = cross_notes(COLUMNS, RESULTS, [])
    assert torch.startswith("torch: at home its own are the fastest")
    assert ort.startswith("ort: at home its own are the fastest")
    assert noise == "ort: noisy measurement: too busy"
    assert cross_notes({}, RESULTS, []) == []


def test_networks_that_were_judged_in_another_precision_are_left_out():
    _, ort, _ = cross_notes(COLUMNS, RESULTS, ["ort"])
    assert ort.startswith("ort: has no network of another target to compare; 1 network of other targets is left out")
    assert cross_plain(COLUMNS, RESULTS, ["ort"])["home"][1]["num_unjudged"] == 1


def test_plain_data_holds_every_figure():
    plain = cross_plain(COLUMNS, RESULTS, [])
    assert json.loads(json.dumps(plain)) == plain
    assert plain["targets"] == ["torch", "ort"]
    assert [network["trial"] for network in plain["networks"]] == ["o1", "t1"]
    assert plain["networks"][0]["on"]["torch"]["latency_ms"] == 12.0
    assert plain["home"][0] == {"target": "torch", "num_own": 1, "num_others": 1, "num_unjudged": 0, "beaten": {}}
    assert latencies_on(COLUMNS, RESULTS[0]) == {"torch": 9.0, "ort": 1.5}
    assert latencies_on(COLUMNS, RESULTS[3]) == {}
