"""The confusion as a picture: few classes with names and numbers, many without, names as they are."""

from pathlib import Path

import pytest

from orchestrator.plan.confusion import confusion_of
from orchestrator.report.confusion import draw_confusion


@pytest.mark.parametrize("size", [1, 3, 40, 100])
def test_it_is_drawn(size: int, tmp_path: Path) -> None:
    names = tuple(f"$no{{formula_{i}" for i in range(size))
    draw_confusion(confusion_of("x", names, {(i, (i * i) % size): 1 + i for i in range(size)}), tmp_path / "c.png")
    content = (tmp_path / "c.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 300_000
