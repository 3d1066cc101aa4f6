"""What is refused before anything is measured; real measurements stand in `tests/integration`."""

from pathlib import Path

import pytest

from latency.measuring.measure import measure_file, measure_network
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
