"""What the registry keeps of a result as text, and which network it offers first."""

from dataclasses import replace

import pytest
from registry_cases import make_result

from orchestrator.registry.values import best_within, from_tags, rank, to_tags
from supernet.errors import InputError

# Validation and test disagree on purpose.
LUCKY = make_result("lucky", cost=1.0, top1=0.95, validation_top1=0.90)
GOOD = make_result("good", cost=1.2, top1=0.93, validation_top1=0.94)
WIDE = make_result("wide", cost=2.0, top1=0.97, validation_top1=0.96)


def test_validation_chooses_and_the_test_split_does_not() -> None:
    assert best_within([LUCKY, GOOD, WIDE], "ort-cpu-1t", 1.5) == GOOD
    assert min([LUCKY, GOOD], key=rank) == GOOD


def test_the_cheaper_of_equals_is_taken() -> None:
    cheaper = replace(GOOD, trial="cheaper", cost=1.1)
    assert best_within([GOOD, cheaper], "ort-cpu-1t", 1.5) == cheaper


def test_a_limit_that_nothing_keeps_names_the_lowest() -> None:
    with pytest.raises(InputError, match=r"no network within 0\.500 ms on target ort-cpu-1t; the lowest is 1\.000 ms"):
        best_within([LUCKY, GOOD, WIDE], "ort-cpu-1t", 0.5)
    with pytest.raises(InputError, match=r"no registered network for target 'ort-cpu'; did you mean 'ort-cpu-1t'"):
        best_within([LUCKY], "ort-cpu", 0.5)


def test_tags_keep_a_result_to_the_last_digit() -> None:
    assert from_tags(to_tags(GOOD), "models:/a/1") == replace(GOOD, model_uri="models:/a/1")
