"""Torch exports (`.pt2`) of others: looked into before they are loaded, so that loading one runs no code of its maker.

`torch.export.load` unpickles where the archive says so, imports what its nodes name, and compiles its expressions and
names as Python. Allowed is what torch writes for a network of one tensor in, one out, and no more.
"""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import torch

from supernet.errors import InputError
from supernet.plain import parse_json

MODEL, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
PAYLOADS = {
    "data/weights/model_weights_config.json": re.compile(r"weight_\d+"),
    "data/constants/model_constants_config.json": re.compile(r"tensor_\d+"),
}
"""Files that say how tensors are stored, and the names that plain ones have."""

RECORD = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder|"
    r"\.data/version|\.data/serialization_id|" + "|".join(map(re.escape, (MODEL, SAMPLES, *PAYLOADS)))
)
NAME = re.compile(r"[A-Za-z0-9_.]*")
OPERATOR = re.compile(
    r"torch\.ops\.aten\.[a-z0-9_]+\.[A-Za-z0-9_]+|"
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|neg|getitem|eq|ne|ge|gt|le|lt)"
)
EXPRESSION = re.compile(
    r"(Symbol\('[a-z]+\d+'|(positive|nonnegative|integer)=True|Add|Mul|Integer|FloorDiv|Mod|Max|Min|"
    r"\d{1,18}|[ ,()*+-])*"
)
"""Of open dimensions: symbols, whole numbers, and what is made of them."""

WORDS = {"none", "tanh", "same", "valid", "constant", "reflect", "replicate", "circular"}
"""Texts that operators may be given; a file's name, for one, they may not."""

TENSOR = '{"type": null, "context": null, "children_spec": []}'
SPECS = {
    "in_spec": f'[1, {{"type": "builtins.tuple", "context": "null", "children_spec": [{{"type": "builtins.tuple", '
    f'"context": "null", "children_spec": [{TENSOR}]}}, {{"type": "builtins.dict", "context": "[]", '
    '"children_spec": []}]}]',
    "out_spec": f"[1, {TENSOR}]",
}

ALLOWED: dict[str, Callable[[str], object]] = {
    "target": OPERATOR.fullmatch,
    "expr_str": EXPRESSION.fullmatch,
    "as_string": WORDS.__contains__,
    "in_spec": SPECS["in_spec"].__eq__,
    "out_spec": SPECS["out_spec"].__eq__,
    "torch_version": re.compile(r"[A-Za-z0-9_.+]*").fullmatch,
}
"""What texts of the graph may say, by their key; all others are names."""

NEVER = ("guards_code", "as_graph", "as_operator", "as_custom_obj", "custom_obj_values", "treespec_namedtuple_fields")
"""Keys that stay empty: code, and objects of other kinds than tensors."""

UNREAD = "metadata"
"""Key of what is kept of a node's origin: torch keeps it as text."""


def load_program(file: FilePath) -> torch.export.ExportedProgram:
    """Load a torch export after looking into it.

    Raises:
        InputError: As `check_archive`, and if torch cannot read it.
    """
    content = check_archive(file)
    try:
        return torch.export.load(io.BytesIO(content))
    except Exception as error:  # of many classes: whatever a damaged archive runs into
        raise InputError(f"{file}: torch cannot load this export: {str(error).splitlines()[0]}") from error


def check_archive(file: FilePath) -> bytes:
    """Return the content of a torch export, if loading it runs no code of whoever made it.

    Only the content that is returned has been looked at: load that, not the file.

    Raises:
        InputError: If it is no such archive, or holds pickled weights, constants or objects, sample inputs that are
            not plain tensors, compiled code, or a graph with anything but `aten` operators of tensors and numbers.
    """
    content = file.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            listed = archive.infolist()
        reader = torch._C.PyTorchFileReader(io.BytesIO(content))
        records = reader.get_all_records()
    except Exception as error:  # zipfile's and torch's own classes
        raise InputError(f"{file}: not a torch export (.pt2): {error}") from error
    # Both readers are asked: torch falls back to the other one.
    for name in [*records, *(entry.filename.partition("/")[2] for entry in listed)]:
        _require(bool(RECORD.fullmatch(name)), file, f"it holds {name!r}")
    _require(all(entry.compress_type == zipfile.ZIP_STORED for entry in listed), file, "it is compressed")
    for name in (MODEL, SAMPLES, *PAYLOADS):
        if name not in records:
            raise InputError(f"{file}: not a torch export of one model: it has no {name}")
    for name, plain in PAYLOADS.items():
        _check_payloads(parse_json(reader.get_record(name), f"{file}: {name}"), plain, file, name)
    _check_graph(parse_json(reader.get_record(MODEL), f"{file}: {MODEL}"), "", file)
    try:
        torch.load(io.BytesIO(reader.get_record(SAMPLES)), weights_only=True)
    except Exception as error:  # torch would load them with everything allowed then
        raise _refused(file, "its sample inputs are not plain tensors") from error
    return content


def _check_payloads(config: Any, plain: re.Pattern[str], file: FilePath, place: str) -> None:
    """Allow tensors stored as plain numbers."""
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise InputError(f"{file}: {place}: expected a mapping of entries under 'config'")
    for name, entry in entries.items():
        _require(entry.get("use_pickle") is False, file, f"{place}: {name!r} is pickled")
        _require(bool(plain.fullmatch(str(entry.get("path_name")))), file, f"{place}: {name!r} is no plain tensor")


def _check_graph(value: Any, key: str, file: FilePath) -> None:
    """Allow names, numbers and operators that cannot be anything else when torch makes Python of them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _require(bool(NAME.fullmatch(name)), file, f"{MODEL}: {name!r} is no name")
            _require(name not in NEVER or not inner, file, f"{MODEL}: {name!r} is not empty")
            if name != UNREAD:
                _check_graph(inner, name, file)
    elif isinstance(value, list):
        for inner in value:
            _check_graph(inner, key, file)
    elif isinstance(value, str):
        allowed = ALLOWED.get(key, NAME.fullmatch)
        _require(bool(allowed(value)), file, f"{MODEL}: {key} is {value[:80]!r}")


def _require(fine: bool, file: FilePath, found: str) -> None:
    if not fine:
        raise _refused(file, found)


def _refused(file: FilePath, found: str) -> InputError:
    return InputError(
        f"{file}: not loaded: {found}. Loading it could run code of whoever made it; allowed are exports by torch of a "
        "network of one tensor in, one out, with its weights as plain tensors"
    )
