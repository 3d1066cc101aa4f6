"""Turn labelled images into a data set of Parquet shards, once. It must not know torch, ray or mlflow, nor batches.

Why here: every kind of source goes through this one piece of code: look at every image, split by content and seed,
write the shards, describe them in the manifest. A build that is killed continues where it was; memory is bounded by
what is under way.

Rows are shuffled when they are written, so that a reader that shuffles only within a few row groups still mixes the
classes.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from orchestrator.data.examine import Examined, examine
from orchestrator.data.format import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    SPLITS,
    TEST_FRACTION,
    VALIDATION_FRACTION,
    Manifest,
    Origin,
    Shard,
    read_manifest,
    write_manifest,
)
from orchestrator.data.index import Index, new_index
from orchestrator.data.place import growing, place
from orchestrator.data.processes import in_order, num_cores
from orchestrator.data.shards import Task, group_digest, write_shard
from orchestrator.data.sources.registry import open_source
from orchestrator.data.sources.source import Source
from orchestrator.data.split import cut_splits, duplicates
from orchestrator.data.storage import Storage, require_space
from supernet.errors import InputError
from supernet.files import write_whole
from supernet.plain import read

Progress = Callable[[str, int, int], None]
GROUPS_PER_FILE = 16
FEW_IMAGES = 4096
SHOWN_CORRUPT = 20
PLAN, INDEX = "plan.json", "index.db"
Item = TypeVar("Item")
REMEDY = "remove the folder or choose another"


def build(
    source: str,
    out_dir: str | Path,
    *,
    validation_fraction: float = VALIDATION_FRACTION,
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
    max_corrupt: int = 0,
    rows_per_group: int = 256,
    groups_per_file: int = GROUPS_PER_FILE,
    num_processes: int | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> Manifest:
    """Build a data set folder, or return the one that is there if it was built from the same inputs.

    The folder appears at once when it is complete. A build that is killed or refused leaves `.NAME.building` beside it,
    from which the next one continues.

    Args:
        source: What `orchestrator.data.sources.registry.open_source` takes.
        out_dir: The folder to make, or where in an object store (`s3://...`).
        validation_fraction: Share of each class's images that searches architectures; without effect if the source
            brings a validation split.
        test_fraction: Share of each class's images kept for the test; without effect if the source brings a test split.
        seed: Seed of the split and of the order of the rows.
        max_corrupt: Corrupt images that are left out, and listed in the manifest; more are an error that lists them.
        rows_per_group: Images per row group: what is read at once.
        groups_per_file: Row groups per file.
        num_processes: Processes to use; None for one per core, or one for a few images.
        progress: Called with (`looking` or `writing`, images done, images in all).

    Raises:
        InputError: If the source is empty, images are corrupt, a class has too few images, or the folder holds
            something else.
        RunError: If the world fails: no space, a file that vanishes.
    """
    store = Storage(str(out_dir))
    _check(store, source, seed=seed, max_corrupt=max_corrupt, rows=rows_per_group, groups=groups_per_file)
    opened = open_source(source)
    fractions = {"validation": validation_fraction, "test": test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if split not in opened.parts}
    _check_fractions(fractions)
    asked: dict[str, Any] = {
        "validation_fraction": fractions.get("validation"),
        "test_fraction": fractions.get("test"),
        "seed": seed,
        "rows_per_group": rows_per_group,
    }
    if _reusable(store, opened, asked):
        return read_manifest(store)
    few = sum(map(len, opened.parts.values())) <= FEW_IMAGES
    processes = num_processes or (1 if few else num_cores())
    with growing(store) as folder:
        if not _reusable(store, opened, asked):  # else another process has just built it
            with new_index(folder / INDEX, seed) as index:
                seen = _work(
                    folder / "seen", {"format": FORMAT_VERSION, "source": opened.name, "listing": opened.listing}
                )
                found = examine(opened, seen, index, num_processes=processes, progress=partial(progress, "looking"))
                _refuse_corrupt(found, max_corrupt)
                asked["content"] = _content(found, index)
                if store.exists(MANIFEST_NAME):
                    _refuse_other_images(store, asked["content"])
                else:
                    cut_splits(found, index, fractions)
                    require_space(store, int(found.num_bytes * 1.01))
                    made = _work(folder / "set", {**asked, "groups_per_file": groups_per_file})
                    tasks = _tasks(found, index, made, rows_per_group, groups_per_file)
                    shards = _write(tasks, processes, partial(progress, "writing"), _total(index))
                    write_manifest(Storage(str(made)), _manifest(found, index, shards, asked))
                    (made / PLAN).unlink()
                    place(made, store, last=MANIFEST_NAME)
        shutil.rmtree(folder, ignore_errors=True)
    return read_manifest(store)


def _check(store: Storage, source: str, *, seed: int, max_corrupt: int, rows: int, groups: int) -> None:
    if store.is_local and Path(source).is_dir() and Path(store.root).resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{store.uri}: lies inside its own source {source}; choose a folder outside")
    if store.is_local and Path(store.root).exists() and not Path(store.root).is_dir():
        raise InputError(f"{store.uri}: is a file; choose another place")
    if rows < 1 or groups < 1:
        raise InputError(f"rows_per_group {rows}, groups_per_file {groups}: both must be at least 1")
    if seed < 0 or max_corrupt < 0:
        raise InputError(f"seed {seed}, max_corrupt {max_corrupt}: both must be 0 or more")


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for split, value in fractions.items():
        if not 0 < value < 1:
            raise InputError(f"{split}_fraction {value}: must lie between 0 and 1 (both excluded), such as 0.1")
    if sum(fractions.values()) >= 1:
        asked = " + ".join(f"{split}_fraction {value}" for split, value in fractions.items())
        raise InputError(f"{asked}: nothing is left to train on")


def _reusable(store: Storage, opened: Source, asked: Mapping[str, Any]) -> bool:
    """Whether the store holds the data set that is asked for, as far as can be seen without reading the images.

    Raises:
        InputError: If it holds something else.
    """
    if not store.exists(MANIFEST_NAME):
        if store.is_local and store.names():
            read_manifest(store)  # says what is missing
        return False
    manifest = read_manifest(store)
    for name, value in asked.items():
        found = getattr(manifest, name)
        if found != value:
            raise InputError(f"{store.uri}: holds a data set built with {name} {found}, not {value}; {REMEDY}")
    return manifest.origin.listing == opened.listing


def _refuse_other_images(store: Storage, content: str) -> None:
    """Copies and clones change times but not images, so only the images decide."""
    manifest = read_manifest(store)
    if manifest.content != content:
        raise InputError(
            f"{store.uri}: holds a data set built from other images (source {manifest.origin.source!r}); bring those "
            "back, or choose another folder (for a sweep, another --storage); remove this one only if no sweep needs it"
        )


def _refuse_corrupt(found: Examined, max_corrupt: int) -> None:
    count = len(found.corrupt)
    if count > max_corrupt:
        listed = "".join(f"\n  {line}" for line in found.corrupt[:SHOWN_CORRUPT])
        more = f"\n  and {count - SHOWN_CORRUPT} more" if count > SHOWN_CORRUPT else ""
        raise InputError(
            f"{found.source.name}: {count} corrupt images, {max_corrupt} are allowed; `onepath data build "
            f"{found.source.name} FOLDER --max-corrupt {count}` leaves them out, and a sweep takes that FOLDER as its "
            "data.source:"
            f"{listed}{more}"
        )


def _work(folder: Path, plan: Mapping[str, Any]) -> Path:
    """Return a folder that holds what was done under this plan, and nothing that was done under another."""
    text = json.dumps(plan, sort_keys=True).encode()
    if not (folder / PLAN).is_file() or (folder / PLAN).read_bytes() != text:
        shutil.rmtree(folder, ignore_errors=True)
        write_whole(folder / PLAN, text)
    return folder


def _tasks(
    found: Examined, index: Index, folder: Path, rows_per_group: int, groups_per_file: int
) -> Iterator[tuple[Task, Shard]]:
    """Yield what is to be written, with what the manifest will say of it."""
    for split in SPLITS:
        groups = _batched(index.entries(split), rows_per_group)
        for number, some in enumerate(_batched(groups, groups_per_file)):
            file = folder / f"{split}-{number:05d}.parquet"
            task = Task(file, [([found.place(one) for one in group], [one.digest for one in group]) for group in some])
            digests = tuple(group_digest([one.label for one in group], [one.digest for one in group]) for group in some)
            yield task, Shard(file.name, split, tuple(map(len, some)), digests)  # type: ignore[arg-type]


def _batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _write(
    tasks: Iterator[tuple[Task, Shard]], num_processes: int, progress: Callable[[int, int], None], total: int
) -> list[Shard]:
    """Write the shards and return what the manifest says of them."""
    shards, done = list[Shard](), 0

    def drawn() -> Iterator[Task]:
        for task, shard in tasks:
            shards.append(shard)
            yield task

    for number, _ in enumerate(in_order(write_shard, drawn(), num_processes)):
        done += sum(shards[number].rows)
        progress(done, total)
    return shards


def _total(index: Index) -> int:
    return sum(sum(index.num_placed(split).values()) for split in SPLITS)


def _manifest(found: Examined, index: Index, shards: list[Shard], asked: Mapping[str, Any]) -> Manifest:
    mean, square = found.moments(lambda first, last: index.rows("train", first, last))
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    std = np.where(std > 1e-3, std, 1.0)  # a constant channel is centred, not blown up
    channels = slice(0, 3) if found.channels == 3 else slice(3, 4)
    labels, counts = range(len(found.source.class_names)), {split: index.num_placed(split) for split in SPLITS}
    num_duplicates, shown = duplicates(found, index)
    plain = {
        "format_version": FORMAT_VERSION,
        "class_names": found.source.class_names,
        "class_counts": {split: [counted.get(label, 0) for label in labels] for split, counted in counts.items()},
        "channels": found.channels,
        "image_size": found.image_size,
        "mean": mean[channels].tolist(),
        "std": std[channels].tolist(),
        "gray_mean": float(mean[3]),
        "gray_std": float(std[3]),
        **asked,
        "shards": shards,
        "origin": Origin(found.source.name, found.source.listing, found.corrupt, num_duplicates, shown),
    }
    manifest: Manifest = read(Manifest, plain, found.source.name)
    return manifest


def _content(found: Examined, index: Index) -> str:
    """Hash class names, labels and images, whatever their order; images of another split count as others."""
    whole = hashlib.sha256("\0".join(found.source.class_names).encode())
    for part in found.starts:
        whole.update(f"\n{part} {sum(index.num_seen(part).values())}\n".encode())
        for digests, _ in index.by_content(part):
            whole.update(digests.astype("<u8").tobytes())
        for _, labels in index.by_content(part):
            whole.update(labels.astype("<i4").tobytes())
    return whole.hexdigest()
