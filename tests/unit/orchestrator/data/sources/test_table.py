"""CSV files: columns by name, and refusals that name the line."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.build import build
from orchestrator.data.pixels import encode_png
from orchestrator.data.sources.registry import open_source
from supernet.errors import InputError


def write(root: Path, text: str, count: int = 0) -> str:
    for number in range(count):
        (root / f"{number}.png").write_bytes(encode_png(np.full((4, 4), number, np.uint8)))
    (root / "all.csv").write_text(text)
    return str(root / "all.csv")


def test_columns_are_found_by_name_and_numbers_name_themselves(tmp_path: Path) -> None:
    lines = "".join(f'{i % 3 * 2},"{i}.png"\n' for i in range(30))
    source = write(tmp_path, "class,file\n" + lines, count=30)
    assert open_source(source).class_names == ("0", "1", "2", "3", "4")
    (tmp_path / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    assert open_source(source).class_names == ("a", "b", "c", "d", "e")
    with pytest.raises(InputError, match="class 'b': 0 images are too few to train on"):
        build(source, tmp_path / "d")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns none; one must be named path or file"),
        ("path,colour\n", "columns path, colour; one must be named label or class or target"),
        ("path,label\n0.png\n", r"all\.csv, line 2: 1 columns, not 2"),
        ("path,label,split\n0.png,1,dev\n", r"all\.csv, line 2: split 'dev'"),
        ("path,label\n", "no images of a train split"),
        ('path,label\n"0.png', "not readable as CSV"),
    ],
)
def test_refusals_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(write(tmp_path, text))


def test_a_missing_image_is_listed(tmp_path: Path) -> None:
    source = write(
        tmp_path, "path,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(10)) + "gone.png,0\n", count=10
    )
    with pytest.raises(InputError, match=r"1 corrupt images, 0 are allowed[^\n]*\n.*gone\.png: cannot be read"):
        build(source, tmp_path / "out" / "d")


def test_an_image_that_was_repaired_is_looked_at_again(tmp_path: Path) -> None:
    source = write(tmp_path, "path,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(20)), count=20)
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[:20])
    with pytest.raises(InputError, match="1 corrupt images"):
        build(source, tmp_path / "out" / "d")
    (tmp_path / "3.png").write_bytes(whole)
    assert sum(build(source, tmp_path / "out" / "d").counts.values()) == 20


def test_other_names_of_classes_make_another_set(tmp_path: Path) -> None:
    source = write(tmp_path, "path,label\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(20)), count=20)
    build(source, tmp_path / "out" / "d")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match="built from other images"):
        build(source, tmp_path / "out" / "d")


def test_numbers_that_are_no_indices_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path, "path,label\n" + "".join(f"{i}.png,{4_000_000_000 + i}\n" for i in range(4)), count=4)
    with pytest.raises(
        InputError, match=r"a label of 4000000003, where there are 4: .* from 0 on, or name them in words"
    ):
        open_source(source)
