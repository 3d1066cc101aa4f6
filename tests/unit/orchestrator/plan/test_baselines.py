"""Baselines: which there are, how wide, where they are kept, and what a front gains over them."""

import json
from dataclasses import replace

import pytest
import yaml
from report_cases import done
from torch import nn

from orchestrator.plan.baselines import (
    WIDTHS,
    baselines_of,
    chosen,
    chosen_width,
    keep_cost,
    known_costs,
    known_network,
    made_from,
    missing_baselines,
    scaled,
    speedups,
    stored_baselines,
    widest,
)
from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.cross import Column, Figure
from orchestrator.plan.requirements import LimitsConfig
from orchestrator.plan.trials import RESULT_FILE, Job
from orchestrator.report.rows import front_rows
from supernet.cost import count_cost
from supernet.errors import InputError, RunError
from supernet.ops import BUILDERS
from supernet.plain import to_sealed
from supernet.presets import load_network, read_preset
from supernet.space import architecture_to_json


def job_in(folder, **changes):
    definition, _ = read_preset("runs", "quickstart")
    run = {**definition, "storage": str(folder), "baselines": ["mobilenet-v2"], **changes}
    return Job(resolved(check_run(run, "mine.yaml")), "")


RESULTS = [
    done("fast", "ort-cpu-1t", 1.0, 0.80),
    done("beaten", "ort-cpu-1t", 2.0, 0.70),
    done("best", "ort-cpu-1t", 3.0, 0.90),
    done("only", "torch-cpu-1t", 9.0, 0.70),
]


def test_each_known_network_stands_beside_each_network_of_a_front(tmp_path):
    job = job_in(tmp_path, baselines=["mobilenet-v2", "proxyless-mobile"])
    found = baselines_of(job, RESULTS)
    assert [(b.key, b.target, b.cost) for b in found[:3]] == [
        ("fast-mobilenet-v2", "ort-cpu-1t", 1.0),
        ("best-mobilenet-v2", "ort-cpu-1t", 3.0),
        ("only-mobilenet-v2", "torch-cpu-1t", 9.0),
    ]
    assert len(found) == 6
    assert baselines_of(job_in(tmp_path, baselines=[]), RESULTS) == []


def test_a_known_network_that_is_none_is_refused_with_its_place(tmp_path):
    with pytest.raises(InputError, match=r"mine\.yaml\.baselines\[0\]: unknown network 'mobilenet-v9'"):
        job_in(tmp_path, baselines=["mobilenet-v9"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["mobilenet-v2", "mobilenet-v2"], r"baselines\[1\]: it and mine\.yaml\.baselines\[0\] are both called 'mob"),
        (
            ["a/net.yaml", "mobilenet-v2", "b/net.yaml"],
            r"baselines\[2\]: it and .*\[0\] are both called 'net'; rename one",
        ),
        (["a/my net.yaml"], r"baselines\[0\]: .*the name of its trial: .*my net"),
        ([{"space": "mobilenet-v2", "stages": []}], r"baselines\[0\]: a network that is written out here needs a name"),
        ([{"name": "n", "space": "mobilenet-v2"}], r"baselines\[0\]: network\.stages: Field required"),
    ],
)
def test_names_that_would_not_tell_baselines_apart_are_refused(tmp_path, monkeypatch, names, said):
    monkeypatch.chdir(tmp_path)
    for name in names:
        if str(name).endswith(".yaml"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("space: mobilenet-v2\nstages: []\n")
    with pytest.raises(InputError, match=said):
        job_in(tmp_path, baselines=names)


def unpadded(in_channels, out_channels, stride):
    return nn.Conv2d(in_channels, out_channels, 9, stride)


def test_what_can_never_be_trained_is_refused_before_anything_starts(tmp_path, monkeypatch):
    """Seen: Ray was started and widths were measured for it, by every run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BUILDERS, "unpadded", unpadded)
    rows = [{"name": "only", "op": "unpadded", "channels": 8}, {"name": "end", "op": "classifier"}]
    space = {"name": "large", "input_size": [1, 64, 64], "num_classes": 10, "rows": rows}
    (tmp_path / "large.yaml").write_text(yaml.safe_dump({"space": space, "stages": []}))
    with pytest.raises(InputError, match=r"mine\.yaml\.baselines\[0\]: .*Kernel size can't be greater"):
        job_in(tmp_path, baselines=["large.yaml"], space={"base": "digits", "input_size": [1, 8, 8]})
    long = f"{'n' * 85}.yaml"
    (tmp_path / long).write_text("space: mobilenet-v2\nstages: []\n")
    for sweep in ({"points": 2}, {"budgets_ms": [0.25]}):
        with pytest.raises(InputError, match=r"mine\.yaml\.baselines\[0\]: .*the name of its trial: .* 100 char"):
            job_in(tmp_path, baselines=[long], sweep=sweep)


def test_a_known_network_outlives_its_file(tmp_path, monkeypatch):
    """Of a cluster's job the file lies in a folder of that job: later, finished baselines vanished without a word."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("space: mobilenet-v2-32px\nstages: []\n")
    job = job_in(tmp_path, baselines=["own.yaml", "mobilenet-v2"])
    first = baselines_of(job, RESULTS)
    for width in WIDTHS:
        keep_cost(job, first[0], width, 10 * width)
    inner, trial = chosen(job, first[0])
    result = done(trial.key, "ort-cpu-1t", 1.0, 0.75, baseline="own")
    inner.trial_store(trial).write(RESULT_FILE, to_sealed(result).encode())
    (tmp_path / "own.yaml").unlink()
    again = Job(json.loads(json.dumps(job.config)), "")
    assert stored_baselines(again, RESULTS) == [result]
    assert [baseline.key for baseline in baselines_of(again, RESULTS)] == [baseline.key for baseline in first]
    assert (first[0].key, first[0].network.key[:4], first[-1].network.key) == ("fast-own", "own-", "mobilenet-v2")
    kept = check_run(again.config, "config.json")
    assert resolved(kept)["baselines"] == again.config["baselines"], "what is written out stays as it is"
    assert again.config["baselines"][1] == "mobilenet-v2"


@pytest.mark.parametrize("form", ["own.yaml", "own.json"])
def test_the_operators_of_a_known_network_are_trusted_as_those_of_the_sweeps_space(tmp_path, monkeypatch, form):
    """Seen: a JSON file with own operators was refused, with the advice of an option that a sweep does not have."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "operators_of_a_baseline.py").write_text("")
    space, architecture = load_network("mobilenet-v2")
    own = replace(space, operators="operators_of_a_baseline")
    if form == "own.json":
        (tmp_path / form).write_text(architecture_to_json(own, architecture))
    else:
        (tmp_path / form).write_text(yaml.safe_dump({"space": own.to_dict(), "stages": []}))
    inner, _ = scaled(job_in(tmp_path, baselines=[form]), known_network(form), 1.0)
    assert inner.space.operators == "operators_of_a_baseline"


@pytest.mark.parametrize("name", ["mobilenet-v2", "proxyless-mobile"])
def test_a_known_network_is_scaled_in_width_and_takes_the_sweeps_images(tmp_path, name):
    job = job_in(tmp_path)
    sizes = []
    for width in (0.25, 1.0):
        inner, path = scaled(job, known_network(name), width)
        assert inner.space.input_size == job.space.input_size
        assert inner.space.num_classes == job.space.num_classes
        assert inner.store.uri == f"{job.store.uri}/baselines"
        sizes.append(count_cost(inner.space, inner.space.architecture(path))["num_macs"])
    assert 4 < sizes[1] / sizes[0] < 16


def test_a_known_network_is_not_rejected_for_what_it_takes_or_loses_besides(tmp_path):
    """It was, after it was trained; its width is chosen by cost alone, and what int8 loses it is what it is worth."""
    job = job_in(tmp_path, limits={"params": 1e5}, gate={"max_top1_loss": 0.02, "prediction_error": 0.2})
    inner, _ = scaled(job, known_network("mobilenet-v2"), 1.0)
    assert inner.run.limits == LimitsConfig()
    assert inner.run.gate == job.run.gate.model_copy(update={"max_top1_loss": 1.0})


@pytest.mark.parametrize(
    ("limit", "width"), [(1e9, WIDTHS[-1]), (1.0, 0.965), (WIDTHS[0], WIDTHS[0]), (0.05, WIDTHS[0])]
)
def test_the_widest_that_keeps_the_limit_is_found_in_few_looks(limit, width):
    looks = []

    def cost_of(width):
        looks.append(width)
        return width

    assert widest(limit, cost_of) == width
    assert len(looks) <= 6


def test_finished_ones_are_found_again_and_others_are_missing(tmp_path):
    job = job_in(tmp_path)
    (first, *_) = baselines_of(job, RESULTS)
    inner, trial = made_from(job, first, 0.1)
    assert inner.result(trial).sweep == job.run.name, "who asks for the sweep's networks finds its baselines too"
    assert (trial.budget(None), trial.key, trial.baseline) == (None, "ort-cpu-1t-mobilenet-v2-x0.1", "mobilenet-v2")
    result = done(trial.key, "ort-cpu-1t", 1.0, 0.75, baseline="mobilenet-v2")
    store = job.store.child("baselines", "trials", trial.key)
    store.write(RESULT_FILE, to_sealed(result).encode())
    assert stored_baselines(job, RESULTS) == [], "its width is not known"
    for width in WIDTHS:
        keep_cost(job, first, width, 10 * width)
    assert stored_baselines(job, RESULTS) == [result]
    slower = [replace(RESULTS[0], cost=2.0), *RESULTS[2:]]
    assert stored_baselines(job, slower) == [], "a network of another cost stands beside another width"
    assert [b.key for b in missing_baselines(job, RESULTS)] == ["best-mobilenet-v2", "only-mobilenet-v2"]
    store.write(RESULT_FILE, b"damaged")
    assert stored_baselines(job, RESULTS) == []


def test_an_edited_file_is_another_network_wherever_it_lies(tmp_path, monkeypatch):
    """Reported before: the numbers of the network that the file held first."""
    monkeypatch.chdir(tmp_path)
    for folder, name in (
        ("old", "mobilenet-v2-32px"),
        ("new", "mobilenet-v3-small-32px"),
        ("copy", "mobilenet-v2-32px"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.yaml").write_text(f"space: {name}\nstages: []\n")

    def known(folder):
        job = job_in(tmp_path, baselines=[f"{folder}/net.yaml"])
        return job, baselines_of(job, RESULTS)[0]

    job, first = known("old")
    keep_cost(job, first, 0.1, 2.0)
    _, trial = made_from(job, first, 0.1)
    assert (trial.baseline, first.key) == ("net", "fast-net"), "as a user named it"
    for folder, same in (("copy", True), ("new", False)):
        job, other = known(folder)
        assert (known_costs(job, other) == {"0.1": 2.0}) is same
        assert (made_from(job, other, 0.1)[1].key == trial.key) is same
    (tmp_path / "old" / "net.yaml").write_text("space: mobilenet-v3-small-32px\nstages: []\n")
    assert known_costs(*known("old")) == {}
    assert known_costs(job, first) == {"0.1": 2.0}, "what is written out knows of no file"


def test_a_baseline_is_on_no_front_and_keeps_none_off():
    known = done("fast-mobilenet-v2", "ort-cpu-1t", 0.5, 0.99, baseline="mobilenet-v2")
    rows = front_rows([*RESULTS, known])
    assert [row.result.trial for row in rows if row.on_front] == ["fast", "best", "only"]
    assert rows[0].result == known


def test_what_a_front_gains_is_said_at_the_accuracy_of_each_baseline():
    slow = done("fast-mobilenet-v2", "ort-cpu-1t", 1.8, 0.78, baseline="mobilenet-v2")
    better = replace(slow, top1=0.95)
    (gain,) = speedups(RESULTS, [slow], {})
    assert gain.startswith("ort-cpu-1t: at the accuracy of mobilenet-v2 (78.0%, 1.800 ms) the front's network is 1.80 ")
    assert gain.endswith("times as fast (1.000 ms)")
    assert speedups(RESULTS, [better], {}) == [
        "ort-cpu-1t: no network of the front is as accurate as mobilenet-v2 (95.0%, 1.800 ms)"
    ]


def test_of_counts_it_is_said_how_large_the_rival_is():
    results = [done("small", "macs", 2e6, 0.70, unit="1"), done("large", "macs", 8e6, 0.90, unit="1")]
    known = done("small-net", "macs", 4e6, 0.75, baseline="net", unit="1")
    assert speedups(results, [known], {})[0].endswith("(75.0%, 4 M) the front's network is 2.00 times as large (8 M)")


def test_the_gain_is_of_one_run_where_both_were_timed_in_one():
    slow = done("fast-mobilenet-v2", "ort-cpu-1t", 1.8, 0.78, baseline="mobilenet-v2")
    names = {"fast": 0.5, "best": 2.0, "fast-mobilenet-v2": 1.5}
    figures = {name: Figure(ms, 0.01, ms) for name, ms in names.items()}
    column = Column("ort-cpu-1t", dict.fromkeys(names, slow.architecture), figures, "")
    (gain,) = speedups(RESULTS, [slow], {"ort-cpu-1t": column})
    assert gain.endswith("(78.0%, 1.500 ms) the front's network is 3.00 times as fast (0.500 ms)")
    other = replace(column, architectures={**column.architectures, "fast": "another"})
    assert "1.80 times" in speedups(RESULTS, [slow], {"ort-cpu-1t": other})[0], "not the network that was timed"


def test_a_width_is_chosen_of_known_costs_alone(tmp_path):
    job = job_in(tmp_path)
    (first, *_) = baselines_of(job, RESULTS)
    with pytest.raises(RunError, match="fast-mobilenet-v2: no cost of its width"):
        chosen_width(job, first)
    for width in WIDTHS:
        keep_cost(job, first, width, 2 * width)
    assert chosen_width(job, first) == WIDTHS[14]
    assert WIDTHS[14] <= 0.5 < WIDTHS[15]
    assert chosen_width(job, replace(first, cost=0.1)) == WIDTHS[0], "slower, but there is no narrower one"
