"""Wrong input made from right input by a seed: plain data with nonsense in it, and damaged bytes."""

import copy
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supernet.errors import InputError, RunError

SEED, COUNT = int(os.environ.get("FUZZ_SEED", "0")), int(os.environ.get("FUZZ_COUNT", "100"))
NONSENSE: list[Any] = [None, True, False, 0, -1, 1, 3000, 10**30, -0.5, 1e300, math.nan, math.inf]
NONSENSE += ["", "..", "../x", "a\nb", "\x00", "x" * 5000, "é", "no.such", "digits", "ort-cpu-1t"]
NONSENSE += [[], [[]], {}, {"a": 1}, ["a", None], [1, 2, 3], [0.5] * 2000, {"base": "digits"}]


def places(plain: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in plain data."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [here, *(place for key, value in inner for place in places(value, (*here, key)))]


def mutated(plain: Any, rng: random.Random) -> Any:
    """Return plain data with one to three values replaced, removed, added or doubled."""
    plain = json.loads(json.dumps(plain))
    for _ in range(rng.choice((1, 1, 2, 3))):
        *way, last = rng.choice([place for place in places(plain) if place] or [("x",)])
        parent = plain
        for key in way:
            parent = parent[key]
        kind = rng.choice(("replace", "replace", "replace", "remove", "add", "double"))
        if kind == "remove":
            del parent[last]
        elif kind == "add" and isinstance(parent, dict):
            parent[rng.choice((f"{last}s", "x", ""))] = copy.deepcopy(rng.choice(NONSENSE))
        elif kind == "double" and isinstance(parent, list):
            parent.append(parent[last])
        else:
            parent[last] = copy.deepcopy(rng.choice(NONSENSE))
    return plain


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return bytes cut short, with bits flipped, or with a piece twice or missing."""
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    flipped = bytearray(content)
    for _ in range(rng.choice((1, 3))):
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return rng.choice(
        (content[:start], bytes(flipped), content[:end] + content[start:], content[:start] + content[end:])
    )


def finite(plain: Any) -> bool:
    """Whether no number anywhere in plain data is NaN or infinite."""
    if isinstance(plain, dict | list | tuple):
        return all(map(finite, plain.values() if isinstance(plain, dict) else plain))
    return not isinstance(plain, float) or math.isfinite(plain)


Attempt = Callable[[random.Random, Path], None]
"""Makes one wrong input, reads it, and asserts what must hold if it is accepted."""


def survive(attempt: Attempt, folder: Path) -> None:
    """Make many attempts: each is refused with a clear message of an error that a user can mend, or holds.

    A fifth of them at least must be refused, or the input is hardly wrong.
    """
    refused = []
    for index in range(COUNT):
        rng = random.Random(f"{SEED} {attempt.__name__} {index}")
        try:
            attempt(rng, folder)
        except (InputError, RunError) as error:
            refused.append(str(error))
        except Exception as error:
            raise AssertionError(f"{attempt.__name__}, seed {SEED}, mutation {index}") from error
    assert len(refused) > COUNT // 5
    assert [text for text in refused if ":" not in text or len(text) > 20_000] == []
