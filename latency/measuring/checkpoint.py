"""Samples of an unfinished run on disk, so that a killed build goes on where it was. Knows no tables.

The file's name is a hash of the job: another job never goes on from it. Written whole, then renamed.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from latency.measuring.job import Job
from latency.measuring.timing import Plan, Samples
from supernet.files import whole
from supernet.plain import to_json

EVERY_SECONDS = 3.0
COLUMNS = ("ms", "clean", "phase", "visit")


@dataclass
class Checkpoint:
    """Where the samples of one job are kept; without a file it keeps nothing."""

    file: FilePath | None
    last: float = 0.0

    @classmethod
    def of(cls, job: Job) -> "Checkpoint":
        """Return the checkpoint of a job: with more time, or in another folder, it is the same one."""
        if not job.work_folder:
            return cls(None)
        same = to_json(replace(job, plan=Plan(), work_folder=""))
        return cls(FilePath(job.work_folder) / f"samples-{hashlib.sha256(same.encode()).hexdigest()[:16]}.npz")

    def load(self) -> tuple[dict[str, Samples], frozenset[int]]:
        """Return the samples of an interrupted run, or none, and the phases that a reference kernel left out."""
        if self.file is None or not self.file.is_file():
            return {}, frozenset()
        with np.load(self.file, allow_pickle=False) as stored:
            keys = json.loads(str(stored["keys"]))
            found = {key: Samples() for key in keys}
            columns = (stored[name].tolist() for name in ("item", *COLUMNS))
            for item, ms, clean, phase, visit in zip(*columns, strict=True):
                samples = found[keys[item]]
                samples.ms.append(ms)
                samples.clean.append(clean)
                samples.phases.append(phase)
                samples.visits.append(visit)
            return found, frozenset(stored["unlike"].tolist())

    def is_due(self, seconds: float) -> bool:
        """Whether the last time is some seconds ago."""
        return self.file is not None and seconds - self.last >= EVERY_SECONDS

    def save(self, samples: Mapping[str, Samples], unlike: Collection[int], seconds: float) -> None:
        """Write the samples, and the phases that a reference kernel left out, whose own samples are not kept.

        Args:
            samples: Of all items, so far.
            unlike: See `sentinels.SentinelStats`.
            seconds: Measuring time so far.
        """
        assert self.file is not None
        self.last = seconds
        columns: dict[str, list[Any]] = {name: [] for name in ("item", *COLUMNS)}
        for index, one in enumerate(samples.values()):
            columns["item"] += [index] * len(one.ms)
            columns["ms"] += one.ms
            columns["clean"] += one.clean
            columns["phase"] += one.phases
            columns["visit"] += one.visits
        arrays = {name: np.array(values) for name, values in columns.items()}
        with whole(self.file) as part:
            keys, left_out = np.array(json.dumps(list(samples))), np.array(sorted(unlike), np.int64)
            np.savez(part, allow_pickle=False, keys=keys, unlike=left_out, **arrays)
