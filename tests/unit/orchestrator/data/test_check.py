"""The check of a data set: a sound one has no faults, of another every fault is listed."""

import json
from pathlib import Path

from data_cases import SHARD, column, rewrite

from orchestrator.data.check import check
from orchestrator.data.format import MANIFEST_NAME
from orchestrator.data.storage import Storage


def test_a_sound_set_has_no_faults(digits: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    manifest, faults = check(Storage(str(digits)), num_processes=2, progress=lambda *news: seen.append(news))
    assert faults == []
    assert seen[-1] == ("checking", 1797, 1797)
    assert sum(manifest.counts.values()) == 1797


def test_check_lists_every_fault(digits: Path) -> None:
    images = column(digits, "image")
    images[3], images[250] = b"", b"x"
    rewrite(digits, image=images)
    (digits / "test-00000.parquet").unlink()
    faults = check(Storage(str(digits)), num_processes=1)[1]
    assert [line.removeprefix(f"{digits}/").split(":")[0] for line in faults] == [
        f"{SHARD}, row group 0, row 3",
        f"{SHARD}, row group 2, row 50",
        "test-00000.parquet, row group 0",
        "test-00000.parquet, row group 1",
    ]
    assert json.loads((digits / MANIFEST_NAME).read_text())["format_version"] == 2
