"""Latency tables: there and back, calibration folded in, foreign and incomplete ones refused."""

import random
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from latency_cases import made_up_table, true_costs

from latency.errors import ForeignTable, MissingLatency
from latency.tables.estimate import cost_table, predict
from latency.tables.file import SCHEMA_VERSION, load_table, read_table, stored_table, table_path, write_table
from latency.tables.fingerprint import differences, fingerprint, space_hash
from latency.target import load_target
from supernet.cost import params_table
from supernet.errors import InputError
from supernet.presets import load_space
from supernet.space import Architecture

SPACE, TARGET = load_space("digits"), load_target("ort-cpu-1t")


def test_there_and_back(tmp_path: Path) -> None:
    table = made_up_table()
    path = write_table(table, tmp_path)
    assert read_table(path) == table
    assert load_table(tmp_path, SPACE, TARGET) == table
    assert list(tmp_path.iterdir()) == [path]  # no half-written file beside it


def test_costs_fold_the_calibration_in() -> None:
    table, costs = made_up_table(), made_up_table().cost_table()
    truth = true_costs(SPACE)
    path = (0, 6, 3, 5, 6, 2)
    chosen = iter(path)
    raw = sum(truth[i, next(chosen) if layer.searched else 0] for i, layer in enumerate(SPACE.layers))
    wanted = 1.1 * raw + 0.2 + 0.05 * params_table(SPACE).total(path) / 1e6
    assert costs.total(path) == pytest.approx(wanted)
    assert predict(table, SPACE.architecture(path)) == (pytest.approx(wanted), pytest.approx(0.02 * wanted))
    assert costs.unit == "ms"


def test_skipping_costs_nothing() -> None:
    costs = made_up_table().cost_table()
    for position, row in zip(SPACE.positions, costs.candidates, strict=True):
        for op, ms in zip(position.candidates, row, strict=True):
            assert (ms == 0.0) == (op.name == "zero")


def test_expectation_is_differentiable_and_its_gradient_is_the_table() -> None:
    costs = made_up_table().cost_table()
    probs = torch.zeros(6, 7, dtype=torch.float64)
    for position, row in enumerate(costs.candidates):
        probs[position, : len(row)] = 1 / len(row)
    probs.requires_grad_()
    costs.expected(probs).backward()
    assert probs.grad is not None
    for grad, row in zip(probs.grad, costs.candidates, strict=True):
        torch.testing.assert_close(grad[: len(row)], torch.tensor(row, dtype=torch.float64))


def test_a_column_that_json_has_nothing_for_is_damage(tmp_path: Path) -> None:
    path = write_table(made_up_table(), tmp_path)
    table = parquet.read_table(path)
    for cells in (pyarrow.array([b"\xff"] * len(table)), pyarrow.nulls(len(table), pyarrow.timestamp("ns"))):
        number = table.column_names.index("raw_ms")
        parquet.write_table(table.set_column(number, "raw_ms", cells), path)
        with pytest.raises(InputError, match=r"damaged, its content is not what was written"):
            read_table(path)


def test_a_foreign_table_is_refused_with_the_command_that_rebuilds_it(tmp_path: Path) -> None:
    table = made_up_table()
    write_table(replace(table, fingerprint={**table.fingerprint, "cpu": "another processor"}), tmp_path)
    with pytest.raises(ForeignTable) as caught:
        load_table(tmp_path, SPACE, TARGET)
    assert 'cpu: "another processor" in the table' in str(caught.value)
    assert f"onepath latency build --space digits --target ort-cpu-1t --folder {tmp_path}" in str(caught.value)
    assert stored_table(tmp_path, SPACE, TARGET).fingerprint["cpu"] == "another processor"  # readable for comparing


def test_other_layers_under_the_same_name_are_refused(tmp_path: Path) -> None:
    write_table(made_up_table(), tmp_path)
    wider = load_space({"base": "digits", "channels": {"stage1": 32}})
    with pytest.raises(ForeignTable):
        load_table(tmp_path, replace(wider, name="digits"), TARGET)


def test_no_table_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no latency table of digits on ort-cpu-1t yet; onepath latency build"):
        cost_table(SPACE, TARGET, tmp_path)


def test_a_missing_entry_is_an_error_and_only_where_it_is_needed() -> None:
    table = made_up_table()
    table = replace(table, rows=tuple(row for row in table.rows if (row.layer, row.op) != ("stage1.1", "k5e6")))
    with pytest.raises(MissingLatency, match=r"no entry for k5e6 at stage1\.1; onepath latency build"):
        table.cost_table()
    needs, needs_not = "digits:k3e3~k5e6~z-k3e3~z~z", "digits:k3e3~k5e3~z-k3e3~z~z"
    with pytest.raises(MissingLatency):
        predict(table, Architecture.parse(needs))
    assert predict(table, Architecture.parse(needs_not))[0] > 0


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


def test_fingerprint_holds_what_decides_and_nothing_else() -> None:
    here = fingerprint(SPACE, TARGET)
    assert not differences(here, fingerprint(replace(SPACE, dropout=0.5), replace(TARGET, name="other-name")))
    assert differences(here, fingerprint(SPACE, replace(TARGET, threads=2)))
    assert differences(here, fingerprint(SPACE, load_target("torch-cpu-1t")))
    assert {"onnxruntime", "onnx"} == set(here["versions"])


def test_space_hash_sees_the_code_of_own_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_operators_of_a_test.py"
    file.write_text("A = 1\n")
    space = replace(SPACE, operators="own_operators_of_a_test")
    before = space_hash(space)
    file.write_text("A = 2\n")
    assert space_hash(space) != before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_row_that_cannot_be_is_refused_with_file_and_remedy(tmp_path: Path, value: float) -> None:
    path = write_table(made_up_table(), tmp_path)
    stored = parquet.read_table(path)
    rows = stored.to_pylist()
    rows[0]["raw_ms"] = value
    parquet.write_table(pyarrow.Table.from_pylist(rows).replace_schema_metadata(stored.schema.metadata), path)
    with pytest.raises(InputError, match=r"digits@ort-cpu-1t\.parquet: damaged.*onepath latency build --space digits"):
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
