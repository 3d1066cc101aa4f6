"""Whether a data set is what its manifest says, image by image. It must not know how it is used.

Why here: shards are checked as far as they are read; before a long run, or after a copy, all of it can be read once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.data.format import Manifest, Shard, read_manifest
from orchestrator.data.processes import in_order, num_cores
from orchestrator.data.shards import faults
from orchestrator.data.storage import Storage

MAX_FAULTS = 1000


def check(
    root: Storage,
    *,
    num_processes: int | None = None,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> tuple[Manifest, list[str]]:
    """Read every shard; return the manifest and what is wrong, at most `MAX_FAULTS` lines.

    Args:
        root: Where the data set is.
        num_processes: Processes to use; None for one per core, at most one per two shards.
        progress: Called with (`checking`, images done, images in all).

    Raises:
        InputError: If there is no data set, or its manifest was changed or damaged.
    """
    manifest = read_manifest(root)
    found: list[str] = []
    processes = min(num_processes or num_cores(), max(1, len(manifest.shards) // 2))
    done, total = 0, sum(manifest.counts.values())
    checked = in_order(_Check(root.uri, manifest.num_classes), manifest.shards, processes)
    for shard, lines in zip(manifest.shards, checked, strict=True):
        found += lines[: MAX_FAULTS - len(found)]
        done += sum(shard.rows)
        progress("checking", done, total)
    return manifest, found


@dataclass(frozen=True)
class _Check:
    uri: str
    num_classes: int

    def __call__(self, shard: Shard) -> list[str]:
        return list(faults(Storage(self.uri), shard, self.num_classes))
