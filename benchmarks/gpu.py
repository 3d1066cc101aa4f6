"""What only a GPU can tell, in one command and within nine minutes: steps, memory, judging, feed, latency.

    python -m benchmarks.gpu --json
    python -m benchmarks.gpu --json --device cpu --tiny     # proves on a CPU that every part runs

It wants torch and torchvision, and for the parts `feed` and `latency` pyarrow, pillow and onnx; neither ray nor mlflow.
Each part runs in a process of its own that may take so long and no longer, and tells each figure when it has it: what
fails or comes late is said in its place, and costs no other. The exit code is 1 then.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks import memory, step
from benchmarks.common import OneBatch, batch_of, environment, parser, report, wanted
from latency.runtimes.cuda import capture
from supernet.judging import PathJudge
from supernet.loop import Search
from supernet.presets import load_network, load_space
from supernet.search_settings import SearchSettings
from supernet.training import to_device

Figures = Iterator[tuple[str, Any]]
MINUTES = 9.0


def steps(args: argparse.Namespace) -> Figures:
    """Yield what `benchmarks.step` says in the usual precision and in fp32, and whether the host waits in one."""
    yield "usual precision", step.measure(args)
    yield "queueing", queueing(args)
    yield "float32", step.measure(changed(args, precision="fp32", paths=1))["images_per_second"]


def queueing(args: argparse.Namespace) -> dict[str, Any]:
    """Return the time of weight steps, and the part of it until the host has queued them: near 1, launches decide."""
    bench = step.Bench(args)
    run = step.at(bench.weights, 0)
    run()
    bench.wait()
    start = time.perf_counter()
    for _ in range(args.rounds):
        run()
    queued = time.perf_counter() - start
    bench.wait()
    total = time.perf_counter() - start
    return {"milliseconds": milliseconds(total / args.rounds), "share until queued": round(queued / total, 3)}


def variants(args: argparse.Namespace) -> Figures:
    """Yield milliseconds of a weight step on one path with a fused optimiser, as a CUDA graph, and compiled."""
    bench = step.Bench(args)
    run = step.at(bench.weights, 0)
    yield "as it is", milliseconds(fastest(bench, run, args.rounds))
    for group in bench.weights.weights.optimiser.param_groups:
        group.update(foreach=False, fused=True)
    yield "fused optimiser", milliseconds(fastest(bench, run, args.rounds))
    alone = step.plain_step(bench, bench.path(0), torch.channels_last)
    yield "standalone network", milliseconds(fastest(bench, alone, args.rounds))
    # The supernet's path changes every step; what a graph of the standalone step saves is the most it could save.
    graph = capture(alone, str(bench.device))[0].replay if bench.device.type == "cuda" else None
    yield "standalone network as a CUDA graph", milliseconds(fastest(bench, graph, args.rounds)) if graph else "no GPU"
    start = time.perf_counter()
    bench.supernet.compile_candidates("inductor" if bench.device.type == "cuda" else "eager")
    run()
    bench.wait()
    yield "seconds to compile one path", round(time.perf_counter() - start, 1)
    yield "compiled", milliseconds(fastest(bench, run, args.rounds))


def peaks(args: argparse.Namespace) -> Figures:
    """Yield the peak of each kind of step beside what a sweep's forecast says of it, and all paths at once."""
    bench = memory.Bench(args, load_space(args.space))
    counted = memory.counted_mib(args, bench.path(0))
    del bench
    for kind, forecast in counted.items():
        peak = memory.peak_mib(args, kind, 0)
        told: dict[str, Any] = {
            "forecast MiB": forecast,
            "peak MiB": "does not fit" if peak is None else round(peak, 1),
        }
        if peak:
            told["off by"] = wanted(abs(forecast / peak - 1), 0.1, most=True)
        yield kind, told
    for kind in ("standalone", "two-path", "all paths"):
        yield kind, {"peak MiB": shown(memory.peak_mib(args, kind, 0))}


def shown(peak: float | None) -> float | str:
    """Return a peak, or that it does not fit."""
    return "does not fit" if peak is None else round(peak, 1)


def judging(args: argparse.Namespace) -> Figures:
    """Yield how long it takes to judge paths on shared weights, refit of batch norm included."""
    bench = step.Bench(args)
    judge = PathJudge(bench.supernet, bench.data, batch_size=args.batch, recalibration_batches=1)
    paths = [bench.path(number) for number in range(4 * args.rounds)]
    judge(paths[:1])
    seconds = bench.seconds(lambda: judge(paths))
    yield "paths a second, one batch for statistics and one for the verdict", round(len(paths) / seconds, 2)
    yield "images a second", round(2 * args.batch * len(paths) / seconds, 1)


def feed(args: argparse.Namespace) -> Figures:
    """Yield what decoders and copies do, and how fast a search is that reads photographs, against the same without."""
    from benchmarks.feed import photo, write_parquet
    from orchestrator.data.batches import ImageData
    from orchestrator.data.build import build
    from orchestrator.data.decoding import decode_jpeg

    device, space = torch.device(args.device), load_space(args.space)
    height, width = (48, 64) if args.tiny else (375, 500)
    photos = [photo(height, width, seed) for seed in range(16 if args.tiny else 256)]
    yield "decoded a second on one core", per_second(len(photos), lambda: [decode_jpeg(one) for one in photos], device)
    yield "decoded a second on the device", per_second(len(photos), lambda: decode_all(photos, device), device)
    batch = next(OneBatch(*batch_of(space, args.batch, torch.device("cpu"))).batches("train", args.batch))
    yield "images a second copied", per_second(args.batch, lambda: to_device(batch, device), device)
    if device.type == "cuda":
        pinned = batch[0].pin_memory(), batch[1].pin_memory()
        rate = per_second(args.batch, lambda: to_device(pinned, device), device)
        yield "images a second copied from pinned memory", rate
    bench = step.Bench(args)
    alone = bench.search(SearchSettings(num_steps=step.FOREVER, arch_every=5))
    yield "search, images a second", round(searched(bench, alone, args), 1)
    with TemporaryDirectory(prefix="onepath-gpu-") as name:
        source = write_parquet(Path(name) / "source", iter(photos * (1 if args.tiny else 16)))
        build(source, Path(name) / "set", num_processes=1 if args.tiny else None)
        workers = 0 if args.tiny else os.cpu_count() or 1
        fed = step.Bench(args)
        fed.data = ImageData(
            Path(name) / "set", input_size=space.input_size, seed=0, augment="imagenet", num_loader_workers=workers
        )
        yield "loader workers", workers
        yield "batches are pinned", next(fed.data.batches("train", args.batch))[0].is_pinned()
        search = fed.search(SearchSettings(num_steps=step.FOREVER, arch_every=5))
        yield "search that reads photographs, images a second", round(searched(fed, search, args), 1)


def decode_all(photos: list[bytes], device: torch.device) -> list[Tensor]:
    """Decode JPEGs by torchvision, all at once, on a device."""
    from torchvision.io import ImageReadMode, decode_jpeg

    data = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in photos]
    decoded: list[Tensor] = decode_jpeg(data, mode=ImageReadMode.RGB, device=device)
    return decoded


def searched(bench: step.Bench, search: Search, args: argparse.Namespace) -> float:
    """Return training images a second of whole searching, architecture steps included."""
    for _ in range(5):
        search.step()
    seconds = bench.seconds(lambda: [search.step() for _ in range(5 * args.rounds)])
    num_images: int = 5 * args.rounds * args.batch
    return num_images / seconds


def latency(args: argparse.Namespace) -> Figures:
    """Yield latencies of published networks on every GPU target, each with its error, parity and noise."""
    from latency.measuring.measure import measure_network
    from latency.measuring.process import MeasuringProcess
    from latency.target import load_target
    from supernet.presets import preset_names

    cuda = torch.device(args.device).type == "cuda"
    names = [name for name in preset_names("targets") if name.startswith("cuda")] if cuda else ["torch-cpu-1t"]
    networks = ["proxyless-gpu", "proxyless-mobile", "mobilenet-v2"]
    space = load_space(args.space)
    first = space.architecture((0,) * len(space.positions))
    models = {"first path": (space, first)} if args.tiny else {name: load_network(name) for name in networks}
    for name in names:
        target = load_target(name)
        with MeasuringProcess(target) as process:
            for model, (of, architecture) in models.items():
                seconds = 0.2 if args.tiny else 2.0
                found = measure_network(of, architecture, target, seconds=seconds, run=process.run)
                figures = {"ms": found.latency_ms, "error ms": found.error_ms, "parity": found.parity}
                yield f"{name}, {model}", {**figures, "noise": found.noise}


PARTS: dict[str, tuple[Callable[[argparse.Namespace], Figures], float]] = {
    "steps": (steps, 90),
    "memory": (peaks, 60),
    "judging": (judging, 40),
    "feed": (feed, 90),
    "latency": (latency, 140),
    "variants": (variants, 110),
}
"""What is measured, in this order, and the seconds that each may take."""


def changed(args: argparse.Namespace, **values: object) -> argparse.Namespace:
    """Return the arguments with some of them changed."""
    return argparse.Namespace(**{**vars(args), **values})


def milliseconds(seconds: float) -> float:
    """Return milliseconds, rounded."""
    return round(1000 * seconds, 3)


def fastest(bench: step.Bench, run: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest of some runs, after two that are not timed."""
    for _ in range(2):
        run()
    return min(bench.seconds(run) for _ in range(rounds))


def per_second(count: int, run: Callable[[], object], device: torch.device) -> Any:
    """Return how many a call does a second by the wall, the best of three; or why it cannot."""
    try:
        run()
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    except RuntimeError as error:
        return f"not possible: {str(error).splitlines()[0]}"
    return round(count / best, 1)


def in_child(part: str, seconds: float) -> tuple[list[str], str]:
    """Run a part with this command's arguments in a process of its own; return its lines, and why it did not end."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            out, errors = child.communicate(timeout=max(1.0, seconds))
            reason = "" if child.returncode == 0 else (errors.strip().splitlines() or ["no reason given"])[-1]
        except subprocess.TimeoutExpired:
            child.kill()
            out, _ = child.communicate()
            reason = f"not done within {seconds:.0f} s"
    return out.splitlines(), reason


def gathered(
    parts: Iterable[str], run: Callable[[str, float], tuple[list[str], str]], clock: Callable[[], float], minutes: float
) -> dict[str, dict[str, Any]]:
    """Run parts one after the other within a time; return figures by part, and under `failed` why one did not end.

    Args:
        parts: Their names.
        run: Runs one of them for at most so many seconds.
        clock: Seconds.
        minutes: For all of them together.
    """
    end, found = clock() + 60 * minutes, dict[str, dict[str, Any]]()
    for part in parts:
        left = min(PARTS[part][1], end - clock())
        lines, reason = run(part, left) if left > 0 else ([], "no time was left")
        found[part] = dict(json.loads(line) for line in lines if line.startswith("["))
        found[part] |= {"failed": reason} if reason else {}
    return found


def main() -> None:
    """Measure and print; exit code 1 if a part failed."""
    found = parser(__doc__ or "", batch=256)
    found.set_defaults(device="cuda")
    found.add_argument("--paths", type=int, default=2, help="random paths whose steps are timed (default: 2)")
    found.add_argument("--rounds", type=int, default=6, help="timed rounds per path (default: 6)")
    found.add_argument("--minutes", type=float, default=MINUTES, help=f"for all parts (default: {MINUTES:g})")
    found.add_argument("--tiny", action="store_true", help="a tiny space and few images: proves that the parts run")
    found.add_argument(
        "--part", action="append", choices=list(PARTS), help="only this, in this process; may be repeated"
    )
    args = changed(found.parse_args(), compile=False)
    if args.tiny:
        args = changed(args, space="digits", batch=8, paths=1, rounds=1)
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        found.error("torch sees no CUDA device here; --device cpu --tiny proves that every part runs")
    torch.set_num_threads(args.threads)
    if args.part:
        for part in args.part:
            for name, value in PARTS[part][0](args):
                print(json.dumps([name, value]), flush=True)
        return
    result = gathered(PARTS, in_child, time.perf_counter, args.minutes)
    report({"environment": environment(args), **result}, as_json=args.json)
    sys.exit(any("failed" in figures for figures in result.values()))


if __name__ == "__main__":
    main()
