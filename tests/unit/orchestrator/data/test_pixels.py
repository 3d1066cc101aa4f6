"""Every format that is read is read, whatever was opened before."""

import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from orchestrator.data.pixels import FORMATS, decode
from supernet.errors import InputError


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_read_first_thing_in_a_process(name: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), 7, np.uint8)).save(buffer, name)
    code = (
        "import sys; from orchestrator.data.pixels import decode; print(decode(sys.stdin.buffer.read(), 3, 'x').shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=buffer.getvalue(), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "(3, 6, 5)"


@pytest.mark.parametrize("seed", range(50))
def test_damaged_images_are_told_or_still_images(seed: int) -> None:
    random = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(buffer, FORMATS[seed % len(FORMATS)])
    damaged = bytearray(buffer.getvalue())
    for _ in range(1 + seed % 5):
        damaged[int(random.integers(len(damaged)))] = int(random.integers(256))
    with contextlib.suppress(InputError):  # nothing else may come out of it
        assert decode(bytes(damaged[: int(random.integers(1, len(damaged) + 1))]), 3, "here").shape[0] == 3


def test_what_is_no_image_is_told_alike_every_time():
    with pytest.raises(InputError, match=r"x\.png: not a readable image \(none of PNG, .*\); repair or remove it"):
        decode(b"no image", 3, "x.png")
