"""The sheet of examples: a row per class, each example before its augmented versions."""

from pathlib import Path

import numpy as np
import pytest
from photos import build_photos
from PIL import Image

from orchestrator.data.augment import PRESETS
from orchestrator.data.show import EXAMPLES, GAP, TEXT_WIDTH, VERSIONS, draw_sheet
from supernet.errors import InputError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_photos(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("augment", PRESETS)
def test_versions_stand_beside_their_image(photos: Path, tmp_path: Path, augment: str) -> None:
    draw_sheet(str(photos), tmp_path / "sheet.png", augment=augment, size=24)
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert pixels.shape == (2 * (24 + GAP) + GAP, TEXT_WIDTH + EXAMPLES * ((1 + VERSIONS) * (24 + GAP) + 2 * GAP), 3)
    cells = [pixels[GAP : GAP + 24, TEXT_WIDTH + i * (24 + GAP) :][:, :24] for i in range(1 + VERSIONS)]
    different = {cell.tobytes() for cell in cells}
    assert len(different) == (1 if augment == "none" else 1 + VERSIONS)


def test_a_place_that_cannot_be_written_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent/sheet\.png: cannot be written"):
        draw_sheet(str(photos), tmp_path / "absent" / "sheet.png", augment="none", size=24)
