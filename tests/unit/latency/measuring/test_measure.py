"""What is refused before anything is measured; real measurements stand in `tests/integration`."""

import json
from dataclasses import asdict
from math import inf
from pathlib import Path

import pytest
from latency_cases import made_up_result

from latency.measuring.job import Job, JobResult, Progress
from latency.measuring.measure import REFERENCE, References, measure_file, measure_network
from latency.measuring.summary import summarise
from latency.measuring.timing import Samples
from latency.target import load_target
from supernet.errors import InputError
from supernet.presets import load_space


@pytest.mark.parametrize("name", ["macs", "pixel1-published"])
def test_what_is_counted_or_published_is_not_measured(name: str) -> None:
    space = load_space("digits")
    with pytest.raises(InputError, match=f"target {name}: its costs are counted or published"):
        measure_network(space, space.architecture((0,) * 6), load_target(name))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.onnx: no such file"):
        measure_file(tmp_path / "no.onnx", load_target("ort-cpu-1t"))


def test_an_error_that_the_machine_left_unknown_is_none(tmp_path: Path) -> None:
    """An infinite one would be refused where a result is kept: JSON has no such number."""
    (tmp_path / "own.onnx").touch()

    def disturbed(job: Job, progress: Progress) -> JobResult:
        one_phase = Samples([1.0, 1.1], [True, True], [0, 0], [0, 0])
        found = summarise({item.key: one_phase for item in job.items})
        return JobResult(found.stats, {}, 1.0, found.moved, 1, found.num_phases, 0, {}, 0.1, 0.2)

    found = measure_file(tmp_path / "own.onnx", load_target("ort-cpu-1t"), run=disturbed)
    assert (found.latency_ms, found.error_ms, found.surely_within_ms) == (1.0, None, inf)
    assert found.noise.startswith("1 phases in which every item")
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize(
    ("factor", "noise"),
    [
        (1.0, ""),
        (1.1, ""),
        (1.4, "networks of the latency table are 40% slower"),
        (0.7, "latency table are 30% faster"),
    ],
)
def test_references_tell_the_machine_from_the_network(tmp_path: Path, factor: float, noise: str) -> None:
    """A network of 2 ms beside two known ones of 1 and 4 ms, all in rounds in which the machine is so much slower."""
    (tmp_path / "own.onnx").touch()
    space = load_space("digits")
    first, second = (space.architecture((choice,) * 6).id for choice in (0, 1))
    truth = {"model": 2.0, REFERENCE + first: 1.0, REFERENCE + second: 4.0}

    def slowed(job: Job, progress: Progress) -> JobResult:
        assert job.space == space
        assert all(item.whole for item in job.items if item.key != "model")
        return made_up_result({item.key: factor * truth[item.key] for item in job.items})

    references = References(space, {first: 1.0, second: 4.0})
    found = measure_file(tmp_path / "own.onnx", load_target("ort-cpu-1t"), references=references, run=slowed)
    assert (found.latency_ms, found.machine) == (pytest.approx(2.0 * factor), pytest.approx(factor))
    assert found.machine_error == pytest.approx(0.0, abs=1e-6)
    known = found.as_known
    assert (known.latency_ms, known.machine) == (pytest.approx(2.0), 1.0)
    assert known.median_ms == pytest.approx(found.median_ms / factor)
    assert known.error_ms == pytest.approx(found.error_ms / factor)
    assert not found.noise
    assert (noise in found.moved) if noise else not found.moved
