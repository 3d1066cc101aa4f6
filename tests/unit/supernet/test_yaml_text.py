"""YAML is read strictly: a word means one thing, and what would hang or be ambiguous is refused with its line."""

import time

import pytest

from supernet.errors import InputError
from supernet.presets import CONFIGS
from supernet.yaml_text import MAX_BYTES, MAX_DEPTH, parse_yaml

BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1e-3", 1e-3),
        ("a: 40.0e6", 40e6),
        ("a: 1.", 1.0),
        ("a: -.5", -0.5),
        ("a: 1_000", 1000),
        ("a: 010", 10),
        ("a: no", "no"),
        ("a: true", True),
        ("a: ~", None),
        ("a:", None),
        ("a: '1'", "1"),
        ("a: 2024-13-01", "2024-13-01"),
        ("a: 12:30:00", "12:30:00"),
        ("a: ==", "=="),
        ("x: &x {k: [1, 2]}\na: *x", {"k": [1, 2]}),
        ("x: &x {k: 1, l: 2}\na: {l: 3, <<: *x}", {"k": 1, "l": 3}),
    ],
)
def test_words_mean_one_thing(text, value):
    found = parse_yaml(text.encode(), "x.yaml")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", r"x\.yaml, line 3: key 'a' stands twice"),
        (b"{a: {b: 1, b: 1}}", "key 'b' stands twice"),
        ("name: \xe9".encode("latin-1"), r"x\.yaml: not UTF-8"),
        ("name: a".encode("utf-16"), r"x\.yaml: not UTF-8"),
        (b"a: \x00", r"x\.yaml: not valid YAML"),
        (b"a: [", r"x\.yaml: not valid YAML"),
        (b"a: " + b"9" * 5000, r"line 1: 9+ is no number"),
        (b"a: 1e999", "is no number that a setting takes"),
        (b"a: .inf", r"line 1: \.inf is no number"),
        (b"a: .NaN", "is no number that a setting takes"),
        (b"a: " + b"[" * 10_000, f"more than {MAX_DEPTH} deep"),
        (b"a: " + b"{a: " * 500, f"more than {MAX_DEPTH} deep"),
        (b"".join(b" " * i + b"a:\n" for i in range(900)), f"more than {MAX_DEPTH} deep"),
        (BOMB, "more than 100,000 values"),
        (b"a: &a [*a]", r"\*a stands for nothing"),
        (b"a: *b", r"\*b stands for nothing"),
        (b"a: !!python/object/apply:os.system [x]", "tag"),
        (b"a: !!set {x}", "tag"),
        (b"<<: [1]", "takes one mapping"),
        (b"? [a]\n: 1", "a key that is no text"),
        (b"a: 1\n---\nb: 2\n", "a second document"),
        (b"# comment\n" * (MAX_BYTES // 10 + 1), "has at most 1,000,000"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(content, message):
    start = time.process_time()
    with pytest.raises(InputError, match=message):
        parse_yaml(content, "x.yaml")
    assert time.process_time() - start < 5  # bounds hold before anything grows


def test_an_empty_text_is_nothing_and_a_byte_order_mark_is_no_key():
    assert parse_yaml(b"", "x") is None
    assert parse_yaml("\ufeffa: 1".encode(), "x") == {"a": 1}


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.name)
def test_every_packaged_file_reads(file):
    assert parse_yaml(file.read_bytes(), file.name)
