"""Tables as files: there and back, whole or refused, foreign ones refused with the command that rebuilds them."""

import random
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
from latency_cases import made_up_table

from latency.errors import ForeignTable, NotRunnable
from latency.tables.file import SCHEMA_VERSION, load_table, read_table, stored_table, table_path, write_table
from latency.target import load_target
from supernet.errors import InputError
from supernet.presets import load_space

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


def test_there_and_back(tmp_path: Path) -> None:
    table = made_up_table()
    path = write_table(table, tmp_path)
    assert read_table(path) == table
    assert load_table(tmp_path, SPACE, TARGET) == table
    assert list(tmp_path.iterdir()) == [path]  # no half-written file beside it


def test_a_foreign_table_is_refused_with_the_command_that_rebuilds_it(tmp_path: Path) -> None:
    table = made_up_table()
    write_table(replace(table, fingerprint={**table.fingerprint, "cpu": "another processor"}), tmp_path)
    with pytest.raises(ForeignTable) as caught:
        load_table(tmp_path, SPACE, TARGET)
    assert 'cpu: "another processor" in the table' in str(caught.value)
    assert f"onepath latency build --space digits --target ort-cpu-1t --folder {tmp_path}" in str(caught.value)
    assert stored_table(tmp_path, SPACE, TARGET).fingerprint["cpu"] == "another processor"  # readable for comparing


def test_a_table_of_a_target_that_cannot_run_here_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    away = replace(load_target("cuda-graph-fp16-b8"), device="cuda:999")
    path = write_table(replace(made_up_table(), target=away), tmp_path)
    with pytest.raises(
        NotRunnable, match=rf"{path} counts only on .* cannot run target {away.name}: .*(no CUDA|not there)"
    ):
        load_table(tmp_path, SPACE, away)


def test_the_command_for_what_goes_by_no_name_wants_its_file(tmp_path: Path) -> None:
    """Said before: `--space digits` for one of 40 classes, whose table that would not build."""
    for space in (replace(SPACE, num_classes=40), replace(SPACE, name="mine")):
        with pytest.raises(
            InputError, match=r"--space space\.yaml --target ort-cpu-1t .*\(space\.yaml: the file of your"
        ):
            load_table(tmp_path, space, TARGET)
    with pytest.raises(
        InputError, match=r"--space digits --target target\.yaml .*\(target\.yaml: the file of your target"
    ):
        load_table(tmp_path, SPACE, replace(TARGET, threads=2))


def test_a_target_that_counts_has_no_table_to_build(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="target macs: its costs are counted or published; no table of it is measured"):
        load_table(tmp_path, SPACE, load_target("macs"))


def test_other_layers_or_settings_under_the_same_name_have_tables_of_their_own(tmp_path: Path) -> None:
    """Such as two sweeps of a space over images of ten and of forty classes: each was measured anew by turns."""
    path = write_table(made_up_table(), tmp_path)
    more_classes, two_threads = replace(SPACE, num_classes=40), replace(TARGET, threads=2)
    others = {table_path(tmp_path, more_classes, TARGET), table_path(tmp_path, SPACE, two_threads)}
    assert len(others | {path}) == 3
    with pytest.raises(InputError, match=r"no latency table of digits on ort-cpu-1t yet; onepath latency build"):
        load_table(tmp_path, more_classes, TARGET)
    assert table_path(tmp_path, replace(SPACE), replace(TARGET)) == path


def test_a_table_of_other_layers_is_refused_whatever_its_file_is_called(tmp_path: Path) -> None:
    wider = replace(load_space({"base": "digits", "channels": {"stage1": 32}}), name="digits")
    write_table(made_up_table(), tmp_path).rename(table_path(tmp_path, wider, TARGET))
    with pytest.raises(ForeignTable, match=r"space: .* in the table"):
        load_table(tmp_path, wider, TARGET)


@pytest.mark.parametrize("content", [b"", b"not parquet at all"])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = table_path(tmp_path, SPACE, TARGET)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a latency table"):
        read_table(path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = write_table(made_up_table(), tmp_path)
    stored = parquet.read_table(path)
    text = stored.schema.metadata[b"onepath_latency"].replace(
        f'"schema_version": {SCHEMA_VERSION}'.encode(), b'"schema_version": 99'
    )
    parquet.write_table(stored.replace_schema_metadata({"onepath_latency": text}), path)
    with pytest.raises(InputError, match=f"schema version 99, this release reads {SCHEMA_VERSION}"):
        read_table(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_row_that_cannot_be_is_refused_with_file_and_remedy(tmp_path: Path, value: float) -> None:
    path = write_table(made_up_table(), tmp_path)
    stored = parquet.read_table(path)
    rows = stored.to_pylist()
    rows[0]["raw_ms"] = value
    parquet.write_table(pyarrow.Table.from_pylist(rows).replace_schema_metadata(stored.schema.metadata), path)
    with pytest.raises(
        InputError, match=r"digits@ort-cpu-1t-[0-9a-f]{8}\.parquet: damaged.*onepath latency build --space digits"
    ):
        load_table(tmp_path, SPACE, TARGET)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    table = made_up_table()
    path, rng = write_table(table, tmp_path), random.Random(0)
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            found = read_table(path)
        except InputError:
            refused += 1
        else:
            assert found == table
    assert refused > 20


@pytest.mark.parametrize("name", ["../../evil/x", "..", "a/b", ""])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="the space's name"):
        table_path(tmp_path, replace(SPACE, name=name), TARGET)
    with pytest.raises(InputError, match="the target's name"):
        table_path(tmp_path, SPACE, replace(TARGET, name=name))


def test_a_column_that_json_has_nothing_for_is_damage(tmp_path: Path) -> None:
    path = write_table(made_up_table(), tmp_path)
    table = parquet.read_table(path)
    for cells in (pyarrow.array([b"\xff"] * len(table)), pyarrow.nulls(len(table), pyarrow.timestamp("ns"))):
        number = table.column_names.index("raw_ms")
        parquet.write_table(table.set_column(number, "raw_ms", cells), path)
        with pytest.raises(InputError, match=r"damaged, its content is not what was written"):
            read_table(path)
