"""What a network took images of each class for, as plain data.

Why here: a trial counts it, the registry keeps it, the model card and its picture tell it. It must know none of them.
"""

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Ge
from pydantic.dataclasses import dataclass

from supernet.plain import STRICT

Label = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told from the others.

    Attributes:
        name: Of the class.
        num_images: That are of it.
        recall: Share of them that were taken for it; None without any.
        precision: Share of what was taken for it that is of it; None where nothing was.
    """

    name: str
    num_images: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True, config=STRICT)
class Confusion:
    """Counts of the test split.

    Attributes:
        source: Where the images came from, as the user wrote it.
        class_names: One name per label.
        counts: (label, answer, number of images), where there are any, in order.
    """

    source: str
    class_names: tuple[str, ...]
    counts: tuple[tuple[Label, Label, Annotated[int, Ge(1)]], ...]

    def __post_init__(self) -> None:
        """Refuse labels without a name."""
        if any(max(label, answer) >= len(self.class_names) for label, answer, _ in self.counts):
            raise ValueError(f"a label has no name; there are {len(self.class_names)}")

    @property
    def scores(self) -> list[ClassScore]:
        """Each class, in order."""
        right = {label: number for label, answer, number in self.counts if label == answer}
        of_label, of_answer = [0] * len(self.class_names), [0] * len(self.class_names)
        for label, answer, number in self.counts:
            of_label[label] += number
            of_answer[answer] += number
        return [
            ClassScore(
                name,
                of_label[i],
                right.get(i, 0) / of_label[i] if of_label[i] else None,
                right.get(i, 0) / of_answer[i] if of_answer[i] else None,
            )
            for i, name in enumerate(self.class_names)
        ]

    def worst_pairs(self, number: int) -> list[tuple[str, str, int, int]]:
        """Return (class, what it was taken for, how often, of how many images), the most frequent first."""
        names, totals = self.class_names, [score.num_images for score in self.scores]
        wrong = sorted((c for c in self.counts if c[0] != c[1]), key=lambda c: (-c[2], c[0], c[1]))
        return [(names[label], names[answer], count, totals[label]) for label, answer, count in wrong[:number]]


def confusion_of(source: str, class_names: tuple[str, ...], tally: Mapping[tuple[int, int], int]) -> Confusion:
    """Return counts by (label, answer) as they are kept."""
    counts = tuple((label, answer, number) for (label, answer), number in sorted(tally.items()) if number)
    return Confusion(source, class_names, counts)
