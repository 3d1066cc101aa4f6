"""What was taken for what, against counting one by one."""

import random
from collections import Counter

import pytest

from orchestrator.plan.confusion import Confusion, confusion_of
from supernet.errors import InputError
from supernet.plain import read_json, to_json


@pytest.mark.parametrize("seed", range(30))
def test_scores_are_those_of_the_images(seed: int) -> None:
    generator = random.Random(seed)
    names = tuple("abcd")
    images = [(generator.randrange(3), generator.randrange(4)) for _ in range(generator.randrange(20))]
    found = confusion_of("digits", names, Counter(images))
    assert read_json(Confusion, to_json(found), "confusion.json") == found
    for label, score in enumerate(found.scores):
        of_label = [answer for true, answer in images if true == label]
        taken = [true for true, answer in images if answer == label]
        assert (score.name, score.num_images) == (names[label], len(of_label))
        assert score.recall == (of_label.count(label) / len(of_label) if of_label else None)
        assert score.precision == (taken.count(label) / len(taken) if taken else None)
    wrong = Counter((true, answer) for true, answer in images if true != answer)
    assert sorted(number for _, _, number, _ in found.worst_pairs(99)) == sorted(wrong.values())


def test_the_worst_pair_comes_first() -> None:
    found = confusion_of("digits", ("a", "b"), {(0, 0): 5, (0, 1): 1, (1, 0): 3, (1, 1): 2})
    assert found.worst_pairs(1) == [("b", "a", 3, 5)]


def test_a_label_without_a_name_is_refused() -> None:
    text = '{"source": "digits", "class_names": ["a"], "counts": [[0, 1, 2]]}'
    with pytest.raises(InputError, match="a label has no name; there are 1"):
        read_json(Confusion, text, "confusion.json")
