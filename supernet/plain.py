"""From plain data (parsed YAML or JSON) to typed values and back: the one codec of all rooms.

Why here: what crosses a process or a file is read into its type at once, and every mistake in it is told the same way:
place, value, what is allowed. It knows no particular type, and reads no files.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from supernet.errors import InputError, SecretError, nearest

T = TypeVar("T")

MAX_TOLD = 20
"""Mistakes in one message: a damaged file may hold thousands."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""For settings: `@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)` checks ranges whoever makes one."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]+$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=100)]
"""A name that may become a file, a folder, an address or a tag: never empty, never `..`, no separator."""

# Numbers of settings. Strict: neither a text nor true is a number, and 2.5 is no count.
Count = Annotated[int, Strict(), Field(ge=1, le=10**9)]
"""How many there are of something that must be there."""

CountOrNone = Annotated[int, Strict(), Field(ge=0, le=10**9)]
"""How many there are of something that may be missing: 0 is allowed."""

Flag = Annotated[bool, Strict()]
"""True or false, not 1 or "yes"."""

Positive = Annotated[float, Strict(), Field(gt=0, le=1e18, allow_inf_nan=False)]
"""A finite number above 0."""

Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
"""A number from 0 to 1."""

NotNegative = Annotated[float, Strict(), Field(ge=0, le=1e18, allow_inf_nan=False)]
"""A finite number, 0 or above."""

Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, max_length=2000)]
"""One line of text: an address, a path, a title."""

Unbounded = Annotated[float, PlainSerializer(lambda x: x if math.isfinite(x) else str(x), when_used="json")]
"""A figure that may be infinite or none at all, which JSON has no numbers for: it travels as a text."""


def check_name(value: Any, place: str) -> str:
    """Return `value` if it is a `Name`.

    Raises:
        InputError: If it is not, naming `place`.
    """
    name: str = read(Name, value, place)
    return name


def read(kind: Any, value: Any, place: str) -> Any:
    """Read plain data as a value of `kind`, a dataclass, a pydantic model or any annotation.

    Args:
        kind: What is expected.
        value: Parsed YAML or JSON.
        place: Where it stands, first in every message: a file, or a key such as `runs/mine.yaml.search`.

    Raises:
        InputError: On unknown keys (naming the nearest known one), missing keys, and values that the type does not
            allow; one line per mistake.
    """
    _refuse_unknown(kind, value, place)
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        lines: dict[str, list[str]] = {}
        for item in error.errors():
            where, what = _message(value, item)
            lines.setdefault(f"{place}{where}", []).append(what)
        told = [f"{where}: {'; or '.join(what)}" for where, what in lines.items()]
        more = [f"{place}: and {len(told) - MAX_TOLD} more mistakes"] if len(told) > MAX_TOLD else []
        raise InputError("\n".join(told[:MAX_TOLD] + more)) from error


def read_json(kind: Any, text: bytes | str, place: str) -> Any:
    """Read JSON text as a value of `kind`, see `read`; also refuses NaN, infinities and keys given twice.

    Raises:
        InputError: As `read`, and if the text is not JSON.
    """
    return read(kind, parse_json(text, place), place)


def parse_json(text: bytes | str, place: str) -> Any:
    """Parse JSON text strictly.

    Raises:
        InputError: If it is not JSON (damaged, cut short, another encoding), holds NaN or an infinity, or a key twice.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        raise InputError(f"{place}: not readable as JSON ({error})") from error


def to_plain(value: Any) -> Any:
    """Return a typed value as JSON-ready plain data, read back by `read`."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json")


def to_json(value: Any) -> str:
    """Return a typed value as JSON text, read back by `read_json`."""
    return json.dumps(to_plain(value), indent=1, allow_nan=False) + "\n"


CHECKSUM = "sha256"
"""Key of a checksum beside a value, and suffix of a file that holds another file's."""


def to_sealed(value: Any) -> str:
    """Return a typed value as JSON text with its checksum, read back by `read_sealed`: damage is no other value."""
    plain = to_plain(value)
    return json.dumps({"value": plain, CHECKSUM: _digest(plain)}, indent=1, allow_nan=False) + "\n"


def read_sealed(kind: Any, text: bytes | str, place: str) -> Any:
    """Read what `to_sealed` returned as a value of `kind`.

    Raises:
        InputError: As `read_json`, and if there is no checksum, or not that of the value.
    """
    record = parse_json(text, place)
    if not isinstance(record, dict) or set(record) != {"value", CHECKSUM}:
        raise InputError(f"{place}: it has no checksum; cut short, or written by another version")
    if record[CHECKSUM] != _digest(record["value"]):
        raise InputError(f"{place}: its checksum does not fit")
    return read(kind, record["value"], place)


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _refuse_unknown(kind: Any, value: Any, place: str) -> None:
    """Refuse keys that nothing reads, with the nearest known name: pydantic alone would not offer one."""
    known = _known_fields(kind)
    if known is not None and isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in known and not _open(kind):
                raise InputError(f"{place}: unknown key {key!r}{nearest(str(key), known)}")
            _refuse_unknown(known.get(key, Any), inner, f"{place}.{key}")
        return
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        _refuse_unknown(parts[0], value, place)
    elif origin in (Union, UnionType):
        shaped = [part for part in parts if _known_fields(part) is not None or get_origin(part) in (tuple, list, dict)]
        if len(shaped) == 1:
            _refuse_unknown(shaped[0], value, place)
    elif isinstance(value, Mapping) and origin in (dict, Mapping) and len(parts) == 2:
        for key, inner in value.items():
            _refuse_unknown(parts[1], inner, f"{place}.{key}")
    elif isinstance(value, list | tuple) and parts:
        for index, inner in enumerate(value):
            _refuse_unknown(parts[0], inner, f"{place}[{index}]")


def _known_fields(kind: Any) -> dict[str, Any] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints, written = get_type_hints(kind, include_extras=True), getattr(kind, "__pydantic_fields__", {})
        aliases = {name: field.alias for name, field in written.items()}
        return {aliases.get(field.name) or field.name: hints[field.name] for field in fields(kind)}
    return None


def _open(kind: Any) -> bool:
    """Whether a type takes keys that it does not name."""
    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind.model_config.get("extra") == "allow"


WANTED = {
    NAME_PATTERN: "letters, digits, '.', '_' and '-' make a name, and it begins with a letter or a digit",
    TEXT_PATTERN: "one line of text is wanted, and not an empty one",
    **dict.fromkeys(("list_type", "tuple_type"), "a list is wanted, as in [a, b]"),
    **dict.fromkeys(("dict_type", "model_type", "dataclass_type"), "keys with values are wanted, as in {key: value}"),
}
"""What pydantic says of its own terms, in those of YAML: by kind of mistake, or by pattern."""


def _message(value: Any, item: Any) -> tuple[str, str]:
    """Return where in `value` a mistake stands, and what it is.

    pydantic's places also name the parts of unions and what validators put in between; those nobody wrote.
    """
    where, inner, missing = "", value, item["type"] == "missing"
    for part in item["loc"]:
        if isinstance(part, int):
            known = isinstance(inner, list | tuple) and (part < len(inner) or missing)
        else:
            known = isinstance(inner, Mapping) and (part in inner or missing)
        if known:
            where += f"[{part}]" if isinstance(part, int) else f".{part}"
            inner = None if missing and part == item["loc"][-1] else inner[part]
    secret = isinstance(item.get("ctx", {}).get("error"), SecretError)
    hidden = isinstance(item.get("input"), Mapping) or missing or secret
    shown = "" if hidden else f"{_short(repr(item.get('input')))}: "
    wanted = WANTED.get(item["type"]) or WANTED.get(item.get("ctx", {}).get("pattern"))
    return where, f"{shown}{wanted or item['msg'].removeprefix('Value error, ')}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
