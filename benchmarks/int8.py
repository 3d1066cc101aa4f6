"""What int8 costs in accuracy and brings in time: each network of a sweep quantised in every way, beside its fp32 file.

    onepath sweep benchmarks/int8_sweep.yaml --storage int8-runs          # half an hour; wants the images in `cifar10`
    python -m benchmarks.int8 int8-cifar10 --storage int8-runs --data int8-runs/data/cifar10-s0-v0.1-t0.1 --json

Ways are compared by their validation top-1. The files of one network are timed in the same interleaved rounds.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.common import report
from latency.graphs.export import export_onnx
from latency.graphs.quantise import Quantisation, quantise
from latency.measuring.answers import answers
from latency.measuring.job import Item, plan_for
from latency.measuring.job import Job as Measuring
from latency.measuring.process import run_job
from latency.target import Target, load_target
from orchestrator.data.batches import ImageData
from orchestrator.plan.continued import stored_job
from orchestrator.plan.stored import known_trials
from orchestrator.plan.trials import OUTCOME_FILE, Job, Trial
from orchestrator.trial.deliver import top1
from orchestrator.trial.files import network_of, stored_outcome
from orchestrator.trial.stages import open_data
from supernet.errors import InputError

FP32 = "fp32"
CHUNK = 500
RANGES: tuple[Literal["minmax", "percentile", "entropy"], ...] = ("minmax", "percentile", "entropy")


def ways(num_images: int) -> dict[str, Quantisation]:
    """Return the settings that are compared, by a short name: weights per channel except where said."""
    found = {}
    for ranges, ends in product(RANGES, (False, True)):
        found[f"{ranges}{', float ends' if ends else ''}"] = Quantisation(num_images, ranges, float_ends=ends)
    return found | {"minmax, per tensor": Quantisation(num_images, per_channel=False)}


def with_networks(job: Job) -> list[Trial]:
    """Return the trials of a sweep that have a network.

    Raises:
        InputError: If there are none.
    """
    found = [trial for trial in known_trials(job) if job.trial_store(trial).exists(OUTCOME_FILE)]
    if not found:
        raise InputError(f"sweep {job.run.name}: no trial has a network yet; finish it with `onepath sweep`")
    return found


def files_of(job: Job, folder: Path, data: ImageData, trial: Any, num_images: int) -> dict[str, Path]:
    """Write a finished network as fp32 and in every int8 way."""
    network = network_of(job, *stored_outcome(job.trial_store(trial)))
    files = {FP32: export_onnx(network, data.input_size, folder / "fp32.onnx")}
    images = torch.cat([batch for batch, _ in data.once("train", num_images, limit=num_images)]).numpy()
    for number, (name, settings) in enumerate(ways(num_images).items()):
        files[name] = folder / f"int8-{number}.onnx"
        files[name].write_bytes(quantise(files[FP32].read_bytes(), images, settings))
    return files


def times(files: Mapping[str, Path], target: Target, seconds: float) -> dict[str, float]:
    """Return the latency of each file, all in the same rounds, in milliseconds."""
    precisions = {name: "fp32" if name == FP32 else "int8" for name in files}
    items = tuple(Item(name, file=str(file), precision=precisions[name]) for name, file in files.items())
    found = run_job(Measuring(target, items, None, plan_for(target, seconds, visit_ms=20.0)), lambda text, share: None)
    return {name: found.stats[name].latency_ms for name in files}


def judged(job: Job, trial: Any, target: Target, seconds: float, num_images: int) -> dict[str, Any]:
    """Return what one network's files are worth."""
    data = open_data(job)
    with tempfile.TemporaryDirectory(prefix="onepath-int8-") as name:
        files = files_of(job, Path(name), data, trial, num_images)
        latencies = times(files, target, seconds)
        found: dict[str, Any] = {}
        for way, file in files.items():
            answer = partial(answers, file, replace(target, batch=CHUNK // 5))
            found[way] = {
                "validation_top1": top1(answer, data.once("validation", CHUNK)),
                "test_top1": top1(answer, data.once("test", CHUNK)),
                "latency_share": latencies[way] / latencies[FP32],
            }
    return found


def main() -> None:
    """Judge the networks of a sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="name of a finished sweep")
    parser.add_argument("--storage", default="onepath-runs", help="where it is kept")
    parser.add_argument("--data", required=True, help="its shards: the folder under `data` in the storage")
    parser.add_argument("--target", default="ort-cpu-1t", help="fp32 target that runs all files (default: ort-cpu-1t)")
    parser.add_argument("--seconds", type=float, default=20.0, help="measuring time of a network (default: 20)")
    parser.add_argument("--num-images", type=int, default=128, help="calibration images (default: 128)")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    args = parser.parse_args()
    job = replace(stored_job(args.sweep, args.storage), data_root=args.data)
    target = load_target(args.target)
    found = with_networks(job)
    networks = {trial.key: judged(job, trial, target, args.seconds, args.num_images) for trial in found}
    mean = {
        way: {
            f"{name}_lost": sum(found[FP32][name] - found[way][name] for found in networks.values()) / len(networks)
            for name in ("validation_top1", "test_top1")
        }
        for way in ways(args.num_images)
    }
    report({"sweep": args.sweep, "target": target.name, "networks": networks, "mean": mean}, as_json=args.json)


if __name__ == "__main__":
    main()
