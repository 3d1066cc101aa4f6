"""Splits: stratified, fixed by the seed, and told where they overlap."""

import shutil
from pathlib import Path

import numpy as np
from data_cases import FRACTIONS, image_folder, rows_of
from sklearn.datasets import load_digits

from orchestrator.data.build import build


def test_split_is_stratified_and_fixed_by_the_seed(tmp_path: Path) -> None:
    build("digits", tmp_path / "a", **FRACTIONS)
    build("digits", tmp_path / "b", **FRACTIONS)
    build("digits", tmp_path / "c", **FRACTIONS | {"seed": 1})
    totals = np.bincount(load_digits().target)
    for split, share in (("train", 0.5), ("validation", 0.25), ("test", 0.25)):
        counts = np.bincount([label for _, label in rows_of(tmp_path / "a", split)], minlength=10)
        assert np.abs(counts - share * totals).max() <= 1
        assert rows_of(tmp_path / "a", split) == rows_of(tmp_path / "b", split)
        assert rows_of(tmp_path / "a", split) != rows_of(tmp_path / "c", split)


def test_duplicates_across_splits_are_told(tmp_path: Path) -> None:
    source = image_folder(tmp_path / "src" / "train")
    (tmp_path / "src" / "test" / "class0").mkdir(parents=True)
    shutil.copy(source / "class1" / "5.png", tmp_path / "src" / "test" / "class0" / "again.png")
    manifest = build(str(tmp_path / "src"), tmp_path / "d", **FRACTIONS)
    assert manifest.origin.num_duplicates == 1
    assert "train/class1/5.png (" in manifest.origin.duplicates[0]
    assert "test/class0/again.png (test)" in manifest.origin.duplicates[0]
