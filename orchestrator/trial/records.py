"""What a trial leaves between its steps, read back into its type at once; a damaged file is named, with what it held.

Why here: each file is written whole, but disks flip bits. What carries figures carries a checksum, so that damage is
never another number. It must not know how the files are made, nor Ray.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.data.storage import Storage
from orchestrator.plan.confusion import Confusion
from orchestrator.plan.trials import (
    CORRECTIONS_FILE,
    EVALUATION_FILE,
    FINDINGS_FILE,
    MEASURED_FILE,
    MEASUREMENT_FILE,
    ONNX_FILE,
    OUTCOME_FILE,
    POOL_FILE,
    PREPROCESSING_FILE,
    PROGRAM_FILE,
    RESULT_FILE,
    STARTS_FOLDER,
    WARMUP_FILE,
    WEIGHTS_FILE,
)
from supernet.errors import InputError, RunError
from supernet.health import unlearnt
from supernet.plain import CHECKSUM, read_sealed, to_sealed
from supernet.pool import Judged


class DamagedFile(RunError):
    """A file of a sweep cannot be believed: its name, why, and what is lost if it is removed."""


@dataclass(frozen=True)
class Start:
    """One start of a job: where it went on, with how many ranks. Numbers change with the ranks."""

    phase: str
    step: int
    num_ranks: int


@dataclass(frozen=True)
class Outcome:
    """What the ranks of a trial came to: its network, stored beside this, before it is exported and measured.

    Attributes:
        architecture: Id of the architecture.
        top1: Of the fp32 network on the test split, 0..1: what its delivered file is held against.
        num_test_images: Images of that split.
        num_validation_images: Images of the validation split, on which only the delivered file is judged.
        weights: Checksum of the file with the weights.
        num_corrections: Of the table, that it was derived under.
    """

    architecture: str
    top1: float
    num_test_images: int
    num_validation_images: int
    weights: str
    num_corrections: int


@dataclass(frozen=True)
class Findings:
    """What a search came to, and the paths that its network was picked from: what tells whether it learnt anything.

    Attributes:
        entropy: Mean entropy of a position at the end, nats.
        start_entropy: The same where all candidates that are allowed are as probable.
        expected_cost: Of the distribution at the end.
        judged: Paths with their validation accuracy and loss.
        chosen: The path that became the network; it may have been known before.
        chance: Random paths close under the budget; none where there is no budget.
        num_images: Images behind each of these.
        num_classes: Classes of the images.
    """

    entropy: float
    start_entropy: float
    expected_cost: float
    judged: tuple[Judged, ...]
    chosen: Judged
    chance: tuple[Judged, ...]
    num_images: int
    num_classes: int

    def doubts(self, budget: float | None) -> list[str]:
        """Return what shows that the search has learnt nothing, or not what was asked."""
        return unlearnt(
            entropy=self.entropy,
            start_entropy=self.start_entropy,
            expected_cost=self.expected_cost,
            budget=budget,
            top1s=[found.top1 for found in self.judged],
            num_images=self.num_images,
            num_classes=self.num_classes,
        )


@dataclass(frozen=True)
class Evaluation:
    """How accurate the files of a network are.

    Attributes:
        file_sha256: Checksum of the delivered file.
        program_sha256: Checksum of the torch export.
        top1: Of the delivered file on its target, on the test split, 0..1.
        top5: The same, of the five highest outputs; None with five classes or fewer.
        validation_top1: The same on the validation split.
        torch_top1: Of the torch export, which may be the delivered file, on the test split.
        confusion: Of the delivered file, on the test split.
    """

    file_sha256: str
    program_sha256: str
    top1: float
    top5: float | None
    validation_top1: float
    torch_top1: float
    confusion: Confusion


LOST = {
    OUTCOME_FILE: "nothing, it is made again from the last checkpoint",
    WEIGHTS_FILE: "nothing, they are made again from the last checkpoint",
    WARMUP_FILE: "nothing, it is made again from the last checkpoint",
    POOL_FILE: "nothing, its paths are judged again",
    FINDINGS_FILE: "only what tells whether the search learnt anything",
    PREPROCESSING_FILE: "nothing, it is written again",
    PROGRAM_FILE: "nothing, it is exported again",
    ONNX_FILE: "nothing, it is exported again",
    EVALUATION_FILE: "nothing, the files are judged again",
    STARTS_FOLDER: "only the list of where the job was started",
    MEASUREMENT_FILE: "one measurement, which is made again and differs a little",
    CORRECTIONS_FILE: "nothing, the networks that were over the budget are made and measured again",
    MEASURED_FILE: "the measurements of derived paths; made again they differ a little, and so may the network",
}
"""What is lost with a file."""


def damaged(store: Storage, name: str, reason: str) -> DamagedFile:
    """Return the error that names a damaged file, and what to remove: a trial that has a result is not run again."""
    lost = LOST.get(name) or LOST[store.root.rstrip("/").rsplit("/", 1)[-1]]
    what = f"it and {RESULT_FILE} beside it" if store.exists(RESULT_FILE) else "it"
    return DamagedFile(
        f"{store.uri}/{name}: damaged ({reason}); remove {what} and run the command again. What is lost with it: {lost}"
    )


def checksum(content: bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.sha256(content).hexdigest()


def write_record(store: Storage, name: str, value: Any) -> None:
    """Write a typed value as JSON with its checksum."""
    store.write(name, to_sealed(value).encode())


def read_record(store: Storage, name: str, kind: Any) -> Any:
    """Return what `write_record` wrote, as a value of `kind`.

    Raises:
        DamagedFile: If it is missing, holds something else, or does not fit its checksum.
        RunError: If it cannot be read now: storage that is away says nothing of what it holds.
    """
    try:
        return read_sealed(kind, store.read(name), name)
    except (InputError, FileNotFoundError) as error:
        raise damaged(store, name, str(error)) from error
    except OSError as error:
        raise RunError(
            f"{store.uri}/{name}: cannot be read now ({error.strerror or error}); the same command tries again"
        ) from error


def known_evaluation(store: Storage) -> Evaluation | None:
    """Return how accurate a trial's files are, or None where that is not known; judging again gives the same."""
    try:
        found: Evaluation = read_record(store, EVALUATION_FILE, Evaluation)
    except DamagedFile:
        return None
    return found


def read_checked(store: Storage, name: str, expected: str) -> bytes:
    """Return a file's content, checked.

    Raises:
        DamagedFile: If it is missing or is not what `expected` is the checksum of.
    """
    if not store.exists(name):
        raise damaged(store, name, "it is missing")
    content = store.read(name)
    if checksum(content) != expected:
        raise damaged(store, name, "its checksum does not fit")
    return content


def write_beside(store: Storage, name: str, content: bytes) -> None:
    """Write a file and, before it, its checksum in a file beside it: where the file is, its checksum is too."""
    store.write(f"{name}.{CHECKSUM}", checksum(content).encode())
    store.write(name, content)


def read_beside(store: Storage, name: str) -> bytes:
    """Return what `write_beside` wrote.

    Raises:
        DamagedFile: If it does not fit its checksum.
    """
    beside = f"{name}.{CHECKSUM}"
    return read_checked(store, name, store.read(beside).decode("ascii", "replace") if store.exists(beside) else "")


def is_intact(store: Storage, name: str) -> bool:
    """Whether a file that `write_beside` wrote is there and fits its checksum."""
    try:
        read_beside(store, name)
    except DamagedFile:
        return False
    return True


def note_start(store: Storage, key: str, start: Start) -> None:
    """Add to the list of a job's starts; a list that is damaged holds nothing else, and is begun anew."""
    folder, name = store.child(STARTS_FOLDER), f"{key}.json"
    try:
        known: Sequence[Start] = starts_of(store, key)
    except DamagedFile:
        known = ()
    write_record(folder, name, (*known, start))


def starts_of(store: Storage, key: str) -> tuple[Start, ...]:
    """Return where a job was started so far, oldest first.

    Raises:
        DamagedFile: If the list is.
    """
    folder, name = store.child(STARTS_FOLDER), f"{key}.json"
    known: tuple[Start, ...] = read_record(folder, name, tuple[Start, ...]) if folder.exists(name) else ()
    return known
