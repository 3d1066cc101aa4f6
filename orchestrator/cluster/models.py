"""Model files on the machines that have the targets: measured and asked as they are.

Why here: the file that is delivered is the one that is timed and judged, wherever its device is. It must not know
labels, trials or where files are kept.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency.measuring.answers import answers
from latency.measuring.measure import Measurement, measure_file, measure_files
from latency.target import read_target
from orchestrator.cluster.beside import Beside, known_near, references_here
from orchestrator.cluster.devices import disturbance, kept_process, on_target, quietest, teller
from orchestrator.cluster.progress import poster
from orchestrator.plan.news import News
from orchestrator.plan.trials import Job


def measure_model(job: Job, target: str, name: str, content: bytes, near_ms: float, key: str) -> Measurement:
    """Measure a model file on its target, wherever in the cluster that is; waits for the device.

    Args:
        job: The sweep.
        target: Name of the target, a measured one.
        name: The file's name.
        content: The file.
        near_ms: Networks of the table that take about so long are measured beside it, see `beside.known_near`;
            beside a known network those of the sweep that it stands beside.
        key: Of the news about it.

    Raises:
        RunError: If no node announces the target for `measure.wait_minutes`, or measuring fails.
    """
    beside = known_near(job.with_tables, target, near_ms)
    plain = name, content, job.target(target).to_dict(), job.run.measure.network_seconds, key, beside
    found: Measurement = on_target(job, target, _measure, *plain, news=News(key, "measure"))
    return found


def ask_model(
    job: Job, target: str, name: str, content: bytes, images: NDArray[np.float32], key: str
) -> NDArray[np.float32]:
    """Return what a model file answers for images on its target, shape (M, num_classes); as `measure_model`."""
    plain = name, content, job.target(target).to_dict(), images, key
    found: NDArray[np.float32] = on_target(job, target, _ask, *plain, news=News(key, "evaluate"))
    return found


def _measure(
    name: str,
    content: bytes,
    target: Mapping[str, Any],
    seconds: float,
    key: str,
    beside: Beside | None,
) -> Measurement:
    goal, tell = read_target(target, "target"), teller(poster(), key, "measure")
    references = references_here(beside, goal)
    with tempfile.TemporaryDirectory(prefix="onepath-file-") as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        run = kept_process(goal).run
        return quietest(
            lambda: measure_file(file, goal, seconds=seconds, references=references, progress=tell, run=run),
            disturbance,
        )


def measure_models(job: Job, target: str, name: str, contents: Mapping[str, bytes], key: str) -> dict[str, Measurement]:
    """Measure model files on their target in the same rounds; as `measure_model`.

    Args:
        job: The sweep.
        target: Name of the target, a measured one.
        name: Of each file.
        contents: Of the files, by a key of each.
        key: Of the news about it.
    """
    beside = known_near(job.with_tables, target, None)
    plain = name, dict(contents), job.target(target).to_dict(), job.run.measure.network_seconds, key, beside
    found: dict[str, Measurement] = on_target(job, target, _measure_all, *plain, news=News(key, "measure"))
    return found


def _measure_all(
    name: str,
    contents: Mapping[str, bytes],
    target: Mapping[str, Any],
    seconds: float,
    key: str,
    beside: Beside | None,
) -> dict[str, Measurement]:
    goal, tell = read_target(target, "target"), teller(poster(), key, "measure")
    references_here(beside, goal)  # there are none: it only looks whether this is the table's machine
    with tempfile.TemporaryDirectory(prefix="onepath-files-") as folder:
        files = {}
        for number, (network, content) in enumerate(contents.items()):
            files[network] = Path(folder) / str(number) / name
            files[network].parent.mkdir()
            files[network].write_bytes(content)
        run = kept_process(goal).run
        return quietest(lambda: measure_files(files, goal, seconds=seconds, progress=tell, run=run), first_noise)


def first_noise(found: Mapping[str, Measurement]) -> str:
    """Return why measurements of the same rounds cannot be believed, or nothing."""
    return next((one.noise for one in found.values() if one.noise), "")


def _ask(
    name: str, content: bytes, target: Mapping[str, Any], images: NDArray[np.float32], key: str
) -> NDArray[np.float32]:
    poster()(News(key, "evaluate"))  # the device is no longer waited for
    with tempfile.TemporaryDirectory(prefix="onepath-file-") as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        return answers(file, read_target(target, "target"), images)
