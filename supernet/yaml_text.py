"""YAML text to plain data, strictly: every key once, one meaning for each word, bounded. It must know no key.

Why not `yaml.safe_load`: it lets the last of two equal keys win, reads `no` as false, `2024-01-02` as a date and `1e-3`
as a text, and a few lines of aliases fill the memory. Words mean here what YAML 1.2 says.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from supernet.errors import InputError

MAX_BYTES, MAX_DEPTH, MAX_VALUES = 1_000_000, 30, 100_000
"""Of one file: its size, how deep values lie in one another, and how many there are, repeated aliases counted."""

_INT = re.compile(r"[-+]?[0-9][0-9_]{0,30}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]{1,4})?")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBERS = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)|[-+]?[0-9][0-9_]*")


def parse_yaml(content: bytes, place: str) -> Any:
    """Parse the YAML of one file or text.

    Raises:
        InputError: If it is not UTF-8, not YAML, too large or too deep, holds a key twice, a tag, an infinity or a
            number beyond all use; with `place` and the line.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{place}: {len(content):,} bytes; a configuration has at most {MAX_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 ({error}); save it in that encoding") from error
    try:
        return _Reader(text, place).document()
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place}: not valid YAML: {error}") from error


class _Reader:
    """Builds plain data from the parser's events, so that bounds hold before anything grows."""

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self.events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self.num_values = 0
        self.anchors: dict[str, tuple[Any, int]] = {}  # value and how many values it holds
        self.line = 0

    def document(self) -> Any:
        """Return the one document, None if the text holds none."""
        found, seen = None, False
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise self.wrong("a second document; keep one in a file")
                found, seen = self.value(self.next(), 0), True
        return found

    def next(self) -> Any:
        """Return the next event."""
        event = next(self.events)
        self.line = event.start_mark.line + 1
        return event

    def wrong(self, what: str) -> InputError:
        """Return the error for the current line."""
        return InputError(f"{self.place}, line {self.line}: {what}")

    def value(self, event: Any, depth: int) -> Any:
        """Return the value that begins with an event."""
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor))
        self.count(1)
        if depth > MAX_DEPTH:
            raise self.wrong(f"values lie more than {MAX_DEPTH} deep in one another")
        if event.tag is not None:
            raise self.wrong(f"tag {event.tag!r}; write plain values")
        before, built = self.num_values, None
        if isinstance(event, yaml.ScalarEvent):
            built = self.scalar(event.value) if event.implicit[0] else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            built = list(self.items(yaml.SequenceEndEvent, depth))
        else:
            built = self.mapping(depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (built, self.num_values - before + 1)
        return built

    def items(self, end: type, depth: int) -> Iterator[Any]:
        """Yield the values of a collection until its end."""
        while not isinstance(event := self.next(), end):
            yield self.value(event, depth + 1)

    def mapping(self, depth: int) -> dict[str, Any]:
        """Return a mapping; its keys are texts, each once, and win over those that `<<` brings."""
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.wrong("a key that is no text")
            key = event.value
            if key in found or (key == "<<" and merged):
                raise self.wrong(f"key {key!r} stands twice")
            self.count(1)
            if key == "<<" and event.implicit[0]:
                merged = self.value(self.next(), depth + 1)
                if not isinstance(merged, dict):
                    raise self.wrong("'<<' takes one mapping")
            else:
                found[key] = self.value(self.next(), depth + 1)
        return {**merged, **found}

    def alias(self, anchor: str) -> Any:
        """Return the value of an anchor that stands before."""
        if anchor not in self.anchors:
            raise self.wrong(f"*{anchor} stands for nothing that is complete before it")
        built, size = self.anchors[anchor]
        self.count(size)
        return built

    def count(self, num: int) -> None:
        """Count values, and refuse too many."""
        self.num_values += num
        if self.num_values > MAX_VALUES:
            raise self.wrong(f"more than {MAX_VALUES:,} values, aliases counted as often as they are used")

    def scalar(self, text: str) -> Any:
        """Return what an unquoted word means."""
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _NUMBERS.fullmatch(text):
            raise self.wrong(f"{text[:40]} is no number that a setting takes")
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                raise self.wrong(f"{text[:40]} is no number that a setting takes")
            return number
        return text
