"""The cross table's figures: kept, found again, and whether each target's own networks are the fastest on it."""

import dataclasses

from report_cases import done

from orchestrator.plan.check import check_run, resolved
from orchestrator.plan.cross import FOLDER, Column, Figure, at_home, is_of, row_of, store_column, stored_columns
from orchestrator.plan.trials import Job
from supernet.presets import read_preset


def column(target, **latencies):
    """Return a column of latencies by trial, each known to a hundredth of it."""
    figures = {trial: Figure(ms, ms / 100, ms * 1.1) for trial, ms in latencies.items()}
    return Column(target, dict.fromkeys(latencies, "k5e6-k3e3-skip"), figures, "")


def network(trial, target, top1, images=10_000):
    return done(trial, target, 1.0, top1, num_test_images=images)


def test_a_column_is_kept_and_a_damaged_one_is_none(tmp_path):
    definition, _ = read_preset("runs", "quickstart")
    job = Job(resolved(check_run({**definition, "storage": str(tmp_path)}, "quickstart")), "")
    assert job.measured == ["torch-cpu-1t", "ort-cpu-1t"]
    wanted = column("ort-cpu-1t", a=1.0, b=2.0)
    store_column(job, wanted)
    assert stored_columns(job) == {"ort-cpu-1t": wanted}
    file = tmp_path / "quickstart" / FOLDER / "ort-cpu-1t.json"
    file.write_text(file.read_text().replace("2.0", "3.0"))
    assert stored_columns(job) == {}


def test_a_column_is_of_the_networks_that_it_was_measured_with():
    results = [network("a", "x", 0.9), network("b", "y", 0.8)]
    known = column("x", a=1.0, b=2.0)
    assert is_of(known, results)
    assert not is_of(None, results)
    assert not is_of(known, [*results, network("c", "y", 0.8)])
    other = dataclasses.replace(results[0], architecture="k3e3-skip-skip")
    assert not is_of(known, [other, results[1]])
    assert not is_of(dataclasses.replace(known, noise="load 3"), results), "it is measured again"
    assert row_of({"x": known}, results[1]) == {"x": Figure(2.0, 0.02, 2.2)}
    assert row_of({"x": known}, other) == {}


def test_own_networks_that_none_beats_at_their_accuracy_are_the_fastest_at_home():
    results = [network("x1", "x", 0.80), network("x2", "x", 0.90), network("y1", "y", 0.80), network("y2", "y", 0.90)]
    found = at_home(column("x", x1=1.0, x2=2.0, y1=1.3, y2=2.6), results, [])
    assert (found.num_own, found.num_others, found.beaten) == (2, 2, {})
    assert found.sentence == (
        "x: at home its own are the fastest at their accuracy (2 against 2 networks of other targets)"
    )


def test_a_faster_one_as_accurate_beats_an_own_network_unless_another_of_its_own_is_as_fast():
    results = [network("x1", "x", 0.80), network("x2", "x", 0.90), network("y1", "y", 0.85), network("y2", "y", 0.95)]
    beaten = at_home(column("x", x1=1.0, x2=2.0, y1=0.9, y2=1.5), results, [])
    assert beaten.beaten == {"x1": "y1", "x2": "y2"}
    assert beaten.sentence == "x: 0 of 2 are the fastest at home (y1 beats x1, y2 beats x2)"
    rescued = at_home(column("x", x1=2.5, x2=2.0, y1=2.2, y2=3.0), results, [])
    assert rescued.beaten == {}, "x2 is faster than y1, and more accurate than x1"


def test_two_standard_errors_make_accuracies_and_latencies_equal():
    latencies = {"x1": 1.0, "y1": 0.5}
    few = [network("x1", "x", 0.90, images=100), network("y1", "y", 0.85, images=100)]
    many = [network("x1", "x", 0.90), network("y1", "y", 0.85)]
    assert at_home(column("x", **latencies), few, []).beaten == {"x1": "y1"}, "0.05 are within the error of 100 images"
    assert at_home(column("x", **latencies), many, []).beaten == {}
    assert at_home(column("x", x1=1.0, y1=0.98), few, []).beaten == {}, "2 % are within the error of the measurement"


def test_a_target_without_networks_of_its_own_says_so():
    assert (
        at_home(column("z", y1=1.0), [network("y1", "y", 0.9)], []).sentence
        == "z: has no network of its own to compare"
    )
    assert at_home(column("y", y1=1.0), [network("y1", "y", 0.9)], []).sentence == (
        "y: has no network of another target to compare"
    )


def test_an_accuracy_says_nothing_of_an_int8_file_unless_it_is_that_of_one():
    """Said before: o1, which has 93 % in fp32 and may lose ten of them to quantisation, beats i1."""
    results = [
        network("i1", "ort-int8", 0.90),
        network("v1", "openvino-int8", 0.90),
        network("o1", "ort", 0.93),
        network("g1", "gpu-fp16", 0.93),
    ]
    quantised = ["ort-int8", "openvino-int8"]
    here = at_home(column("ort-int8", i1=1.0, v1=1.2, o1=0.5, g1=0.4), results, quantised)
    assert (here.num_others, here.num_unjudged, here.beaten) == (1, 2, {})
    assert here.sentence == (
        "ort-int8: at home its own are the fastest at their accuracy (1 against 1 network of other targets); "
        "2 networks of other targets are left out: their accuracy on it is not known"
    )
    there = at_home(column("ort", i1=0.4, v1=0.4, o1=1.0, g1=0.9), results, quantised)
    assert (there.num_unjudged, there.beaten) == (2, {"o1": "g1"})
    alone = at_home(column("ort-int8", i1=1.0, o1=0.5), results, quantised)
    assert alone.sentence == (
        "ort-int8: has no network of another target to compare; "
        "1 network of other targets is left out: their accuracy on it is not known"
    )


def test_a_network_is_as_accurate_on_a_target_as_the_file_that_was_timed_there():
    """The int8 file of a network is judged for the table, its fp32 file was when it was trained."""
    quick = dataclasses.replace(network("i1", "ort-int8", 0.85), trained_top1=0.92)
    results = [quick, network("o1", "ort", 0.90)]
    judged = dataclasses.replace(column("ort-int8", i1=1.0, o1=0.5), top1s={"o1": 0.80})
    assert at_home(judged, results, ["ort-int8"]).beaten == {}, "int8 costs o1 ten points"
    kept = dataclasses.replace(judged, top1s={"o1": 0.85})
    found = at_home(kept, results, ["ort-int8"])
    assert (found.num_others, found.num_unjudged, found.beaten) == (1, 0, {"i1": "o1"})
    assert at_home(column("ort", i1=0.5, o1=1.0), results, ["ort-int8"]).beaten == {"o1": "i1"}


def test_a_figure_of_unknown_error_beats_none():
    results = [network("x1", "x", 0.80), network("y1", "y", 0.85)]
    known = column("x", x1=1.0, y1=0.9)
    unsure = dataclasses.replace(known, figures={**known.figures, "y1": Figure(0.9, None, 1.0)})
    assert at_home(known, results, []).beaten == {"x1": "y1"}
    assert at_home(unsure, results, []).sentence == "x: has no network of another target to compare"
