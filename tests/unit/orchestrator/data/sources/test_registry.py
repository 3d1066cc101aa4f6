"""The same images from every kind of source make the same shards, bit for bit."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.layouts import WRITERS, Pictures, digests, write_mnist
from orchestrator.data.build import build
from orchestrator.data.sources.named import SOURCES
from orchestrator.data.sources.registry import KINDS, check_source
from supernet.errors import InputError

NAMES = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four"]
NAMES += ["5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine"]


def pictures() -> Pictures:
    random = np.random.default_rng(0)
    counts = {"train": 120, "test": 30}
    splits = {
        split: [(random.integers(0, 256, (28, 28), np.uint8), i % 10) for i in range(count)]
        for split, count in counts.items()
    }
    return Pictures(NAMES, splits)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_gives_the_same_shards_bit_for_bit(tmp_path: Path, kind: str) -> None:
    expected = digests(write_mnist(pictures(), tmp_path / "torchvision"), tmp_path / "a", rows_per_group=20)
    assert digests(WRITERS[kind](pictures(), tmp_path / kind), tmp_path / "b", rows_per_group=20) == expected


def test_a_source_that_is_not_there_says_what_is_possible(tmp_path: Path) -> None:
    for refused in (lambda source: build(source, tmp_path / "d"), check_source):
        with pytest.raises(InputError) as told:
            refused(str(tmp_path / "absent.csv"))
        assert str(told.value) == f"no folder '{tmp_path}/absent.csv'; a data source is one of {SOURCES}"


def test_the_sentence_of_all_sources_forgets_none() -> None:
    assert all(kind in SOURCES for kind in KINDS)
