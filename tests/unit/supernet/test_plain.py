import math
from dataclasses import dataclass
from typing import Annotated

import pydantic
import pytest
from pydantic import Field

from supernet.errors import InputError
from supernet.plain import (
    MAX_TOLD,
    STRICT,
    check_name,
    parse_json,
    read,
    read_json,
    read_sealed,
    to_json,
    to_plain,
    to_sealed,
)


@dataclass(frozen=True)
class Inner:
    ms: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    first: Inner
    others: tuple[Inner, ...] = ()
    named: dict[str, Inner] | None = None


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Settings:
    num_steps: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(gt=0)] = 0.1


VALUE = Outer(Inner(1.5, ("a",)), (Inner(2.0), Inner(3.0)), {"x": Inner(4.0)})


def test_what_is_written_is_read_back():
    assert read(Outer, to_plain(VALUE), "file") == VALUE
    assert read_json(Outer, to_json(VALUE), "file") == VALUE


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"first": {"ms": 1, "lables": []}}, r"file.first: unknown key 'lables'; did you mean 'labels'"),
        ({"first": {"ms": 1}, "others": [{"m": 1}]}, r"file.others\[0\]: unknown key 'm'"),
        ({"first": {"ms": 1}, "named": {"x": {"mss": 1}}}, r"file.named.x: unknown key 'mss'; did you mean 'ms'"),
        ({"first": {"ms": "fast"}}, r"file.first.ms: 'fast': "),
        ({"first": {}}, r"file.first.ms: Field required"),
        ({"first": {"ms": 1, "labels": "a"}}, r"file.first.labels: 'a': a list is wanted, as in \[a, b\]"),
        ({"first": {"ms": 1}, "named": 3}, r"file.named: 3: keys with values are wanted, as in \{key: value\}"),
        ({"first": 2}, r"file.first: 2: keys with values are wanted"),
        ([1], r"file: \[1\]: "),
        (None, r"file: None: "),
    ],
)
def test_mistakes_are_named_with_their_place(plain, message):
    with pytest.raises(InputError, match=message):
        read(Outer, plain, "file")


def test_thousands_of_mistakes_are_no_thousands_of_lines():
    with pytest.raises(InputError, match="file: and 980 more mistakes") as caught:
        read(list[int], ["x"] * 1000, "file")
    assert len(str(caught.value).splitlines()) == MAX_TOLD + 1


def test_no_flipped_bit_of_a_sealed_value_is_another_value():
    text = to_sealed(VALUE).encode()
    assert read_sealed(Outer, text, "file") == VALUE
    for position in range(len(text)):
        changed = text[:position] + bytes([text[position] ^ 1]) + text[position + 1 :]
        try:
            assert read_sealed(Outer, changed, "file") == VALUE  # where only white space changed
        except InputError as error:
            refused = str(error)
            assert refused.startswith("file: ")
    for other in (b"1", b"{}", to_json(VALUE).encode()):
        with pytest.raises(InputError, match="file: it has no checksum"):
            read_sealed(Outer, other, "file")


@pytest.mark.parametrize(
    "text", ['{"first": {"ms": NaN}}', '{"a": 1, "a": 2}', "{", b"\xff\xfe", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"]
)
def test_text_that_is_no_strict_json_is_refused(text):
    with pytest.raises(InputError, match=r"result\.json: not readable as JSON"):
        parse_json(text, "result.json")


def test_settings_refuse_values_out_of_range_whoever_makes_them():
    assert Settings(3) == read(Settings, {"num_steps": 3}, "x")
    for wrong in ({"num_steps": 0}, {"num_steps": 3, "rate": math.nan}, {"num_steps": 3, "rate": math.inf}):
        with pytest.raises(ValueError, match=r"num_steps|rate"):
            Settings(**wrong)
        with pytest.raises(InputError, match=r"search\.(num_steps|rate): "):
            read(Settings, wrong, "search")


@pytest.mark.parametrize("name", ["a", "ort-cpu-1t", "v1.2_b"])
def test_names(name):
    assert check_name(name, "name") == name


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../x", "-x", "a\n", "a b", None, ["a"], "x" * 101])
def test_names_that_would_be_no_file_of_their_folder_are_refused(name):
    with pytest.raises(InputError, match=r"target\.name"):
        check_name(name, "target.name")
