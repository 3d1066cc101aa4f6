"""What one weight step sends between ranks and how long it takes, against DDP with find_unused_parameters.

    python -m benchmarks.sync --json
    python -m benchmarks.sync --link-gbit 1 --json     (root: two network namespaces joined by a shaped link)

Why here: reducing the sampled path alone is the reason to have no DistributedDataParallel in the product. Same
supernet, same paths, same images on both sides; the step is forward, backward, reduction and the optimiser.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from supernet.gates import sample_path
from supernet.network import Supernet
from supernet.presets import load_space
from supernet.rng import generator
from supernet.space import Path as Choice
from supernet.space import Space
from supernet.sync import AllReduce, default_sync
from supernet.training import sgd

Step = Callable[[Choice], dict[str, float]]
ADDRESS, PORT = "10.77.9.1", 29577


def path_step(supernet: Supernet, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Return one weight step as the search makes it; of the reduction, what the backward pass did not hide."""
    sync = default_sync()
    optimiser = sgd(supernet, 0.01, 0.9, 4e-5, decay_norms=True)

    def step(path: Choice) -> dict[str, float]:
        begin = time.perf_counter()
        loss = F.cross_entropy(supernet(images, path), labels)
        parameters = supernet.path_parameters(path)
        before = sync.bytes_reduced if isinstance(sync, AllReduce) else 0
        with sync.averaging(parameters):
            loss.backward()  # type: ignore[no-untyped-call]
            computed = time.perf_counter()
        reduced = time.perf_counter()
        optimiser.step()
        for parameter in parameters:
            parameter.grad = None
        return {
            "seconds": time.perf_counter() - begin,
            "reduction_seconds": reduced - computed,
            "bytes": (sync.bytes_reduced if isinstance(sync, AllReduce) else 0) - before,
            "path_bytes": sum(p.numel() * p.element_size() for p in parameters),
        }

    return step


def ddp_step(supernet: Supernet, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Return the same step under DDP, which looks for the parameters that the path left out and reduces them all."""
    wrapped = DistributedDataParallel(supernet, find_unused_parameters=True)
    optimiser = sgd(supernet, 0.01, 0.9, 4e-5, decay_norms=True)

    def step(path: Choice) -> dict[str, float]:
        begin = time.perf_counter()
        F.cross_entropy(wrapped(images, path), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        return {"seconds": time.perf_counter() - begin}

    return step


def work(rank: int, num_ranks: int, asked: argparse.Namespace, out: Path) -> None:
    """Make steps of both kinds in turn on one rank; rank 0 writes the figures."""
    torch.set_num_threads(1)
    if num_ranks > 1:
        dist.init_process_group("gloo", init_method=f"tcp://{asked.master}", rank=rank, world_size=num_ranks)
    space = load_space({"base": asked.space, "input_size": [3, asked.pixels, asked.pixels]})
    found = []
    for batch in asked.batches:
        draws = generator(0, "images", batch, rank)
        images = torch.randn(
            batch // num_ranks if asked.share else batch, 3, asked.pixels, asked.pixels, generator=draws
        )
        images = images.to(memory_format=torch.channels_last)
        labels = torch.randint(space.num_classes, (len(images),), generator=draws)
        makers = {"path": path_step} | ({"ddp": ddp_step} if num_ranks > 1 and not asked.no_ddp else {})
        steps = {name: make(Supernet(space, seed=0), images, labels) for name, make in makers.items()}
        records: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
        for index in range(asked.steps + 1):
            path = sample_path(_uniform(space), generator(0, "path", index))
            for name in steps if index % 2 else reversed(steps):
                if num_ranks > 1:
                    dist.barrier()
                record = steps[name](path)
                if index:  # the first one warms up
                    records[name].append(record)
        found.append(_figures(batch, num_ranks, space, records))
    if rank == 0:
        out.write_text(json.dumps(found))
    if num_ranks > 1:
        dist.destroy_process_group()


def _uniform(space: Space) -> torch.Tensor:
    width = max(len(p.candidates) for p in space.positions)
    alive = torch.tensor([[i < len(p.candidates) for i in range(width)] for p in space.positions])
    return alive / alive.sum(1, keepdim=True)


def _figures(batch: int, num_ranks: int, space: Space, records: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """Return medians and minima; times are compared step by step, so that both saw the same paths."""
    own, other = records["path"], records.get("ddp", [])
    figures = {
        "batch": batch,
        "ranks": num_ranks,
        "steps": len(own),
        "bytes_per_step": statistics.mean(r["bytes"] for r in own),
        "path_bytes": statistics.mean(r["path_bytes"] for r in own),
        "supernet_bytes": sum(p.numel() * p.element_size() for p in Supernet(space).parameters()),
        "only_the_path": all(r["bytes"] == r["path_bytes"] for r in own) or num_ranks == 1,
        "seconds": statistics.median(r["seconds"] for r in own),
        "reduction_seconds": statistics.median(r["reduction_seconds"] for r in own),
    }
    if other:
        pairs = zip(own, other, strict=True)
        figures |= {
            "ddp_seconds": statistics.median(r["seconds"] for r in other),
            "ratio": statistics.median(ours["seconds"] / theirs["seconds"] for ours, theirs in pairs),
        }
    return figures


def data_seconds(pixels: int, batch: int, num_ranks: int, repeats: int = 10) -> float:
    """Return the time of one rank's slice of a batch of digits, augmented and scaled up; the median."""
    from orchestrator.data.batches import ImageData
    from orchestrator.data.build import build

    with tempfile.TemporaryDirectory(prefix="sync-data-") as folder:
        build("digits", Path(folder) / "digits", validation_fraction=0.2, test_fraction=0.2, seed=0)
        data = ImageData(Path(folder) / "digits", input_size=(3, pixels, pixels), seed=0, augment="light")
        stream, times = data.batches("train", batch, num_ranks=num_ranks), []
        for _ in range(repeats):
            begin = time.perf_counter()
            next(stream)
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def image_seconds(repeats: int = 20) -> float:
    """Return the time to decode a photo of 500 x 375 and cut 224 x 224 out of it, on one core; the median."""
    import io

    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
    buffer, times = io.BytesIO(), []
    coarse.save(buffer, "JPEG", quality=90)
    for _ in range(repeats):
        begin = time.perf_counter()
        Image.open(io.BytesIO(buffer.getvalue())).convert("RGB").resize((224, 224), box=(40, 20, 440, 340))
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@contextmanager
def link(gbit: float | None) -> Iterator[list[list[str]]]:
    """Join two network namespaces by a link of a bandwidth; yields the prefix of each rank's command."""
    if gbit is None:
        yield [[], []]
        return
    names = [f"sync{os.getpid()}{letter}" for letter in "ab"]
    ends = [f"v{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            _ip("link", "set", end, "netns", name)
            for words in (["addr", "add", f"10.77.9.{number}/24", "dev", end], ["link", "set", end, "up"]):
                _ip("-n", name, *words)
            _ip("-n", name, "link", "set", "lo", "up")
            shape = ["tbf", "rate", f"{gbit:g}gbit", "burst", "256kb", "latency", "50ms"]
            subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", end, "root", *shape], check=True)
        yield [["ip", "netns", "exec", n, "env", f"GLOO_SOCKET_IFNAME={e}"] for n, e in zip(names, ends, strict=True)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def launch(asked: argparse.Namespace, num_ranks: int, *extra: str) -> list[dict[str, float]]:
    """Run the ranks as processes of their own and return rank 0's figures."""
    with tempfile.TemporaryDirectory(prefix="sync-") as folder, link(asked.link_gbit) as prefixes:
        out = Path(folder) / "figures.json"
        master = f"{ADDRESS if asked.link_gbit else '127.0.0.1'}:{PORT}"
        ranks = []
        for rank in range(num_ranks):
            command = [sys.executable, "-m", "benchmarks.sync", "--rank", str(rank), "--ranks", str(num_ranks)]
            command += ["--master", master, "--out", str(out), "--steps", str(asked.steps), "--space", asked.space]
            command += ["--pixels", str(asked.pixels), "--batches", *map(str, asked.batches), *extra]
            prefix = prefixes[rank] if asked.link_gbit else ["env", "GLOO_SOCKET_IFNAME=lo"]
            ranks.append(subprocess.Popen([*prefix, *command]))
        codes = [process.wait() for process in ranks]
        if any(codes):
            sys.exit(f"ranks ended with {codes}")
        found: list[dict[str, float]] = json.loads(out.read_text())
    return found


def main() -> None:
    """Run the benchmark, or one of its ranks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--space", default="proxyless-imagenet")
    parser.add_argument("--pixels", type=int, default=112)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 16], help="images per rank and step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--link-gbit", type=float, help="put the two ranks behind a link of this bandwidth (root)")
    parser.add_argument("--scaling", type=int, nargs="+", help="instead: a batch shared by so many ranks, no DDP")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", type=int, default=2, help=argparse.SUPPRESS)
    parser.add_argument("--master", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-ddp", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank is not None:
        work(asked.rank, asked.ranks, asked, asked.out)
        return
    if asked.scaling:
        found = [figures for n in asked.scaling for figures in launch(asked, n, "--share", "--no-ddp")]
    else:
        found = launch(asked, 2)
    image = image_seconds() if asked.scaling else None
    for figures in found if asked.scaling else []:
        figures["data_seconds"] = data_seconds(asked.pixels, int(figures["batch"]), int(figures["ranks"]))
    if asked.json:
        about = {"link_gbit": asked.link_gbit, "load": os.getloadavg()[0], "photo_seconds": image}
        print(json.dumps({**about, "figures": found}))
        return
    for line in found:
        print(
            "  ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in line.items()
            )
        )


if __name__ == "__main__":
    main()
