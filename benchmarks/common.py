"""What benchmarks share: arguments, the machine they ran on, synthetic images, printing."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.errors import InputError, RunError
from supernet.rng import generator
from supernet.space import Space


def parser(description: str, *, batch: int) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every benchmark of the search core has."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--json", action="store_true", help="print JSON only")
    found.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    found.add_argument("--batch", type=int, default=batch, help=f"images per step (default: {batch})")
    found.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="autocast (default: auto)")
    found.add_argument("--space", default="proxyless-imagenet", help="search space (default: proxyless-imagenet)")
    found.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    found.add_argument("--seed", type=int, default=0)
    return found


def environment(args: argparse.Namespace) -> dict[str, Any]:
    """Return where and how a benchmark ran."""
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "device": name,
        "torch": torch.__version__,
        "threads": args.threads,
        "batch": args.batch,
        "precision": args.precision,
        "space": args.space,
        "seed": args.seed,
    }


def processor() -> str:
    """Return the name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def batch_of(space: Space, size: int, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random images (channels_last) and labels on the device."""
    images = torch.randn(size, *space.input_size, generator=generator(seed, "images"))
    labels = torch.randint(space.num_classes, (size,), generator=generator(seed, "labels"))
    return images.to(device, memory_format=torch.channels_last), labels.to(device)


@dataclass(frozen=True)
class OneBatch:
    """Data that gives the same batch every time, already on the device: steps are timed without a reader."""

    images: Tensor
    labels: Tensor

    def batches(
        self, split: str, batch_size: int, *, start: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batch without end."""
        while True:
            yield self.images, self.labels

    def once(self, split: str, batch_size: int, *, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batch once."""
        yield self.images, self.labels


def say(text: str) -> None:
    """Print progress, apart from the result."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def wanted(value: float, limit: float, *, most: bool) -> dict[str, Any]:
    """Return a number beside what was wanted of it (`most`: no more than `limit`, else no less)."""
    met = value <= limit if most else value >= limit
    return {"value": round(value, 4), "wanted": f"{'<=' if most else '>='} {limit:g}", "met": met}


def in_a_sentence(main: Callable[[], int | None]) -> int:
    """Run a benchmark; what it cannot go on from ends it with a sentence, without a traceback."""
    try:
        return main() or 0
    except (InputError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def report(result: dict[str, Any], *, as_json: bool) -> None:
    """Print a result, as JSON or as one indented line per number, and per row of a list."""
    print(json.dumps(result, indent=1) if as_json else "\n".join(_lines(result, 0)))


def _lines(value: Any, depth: int) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{'  ' * depth}{key}"
            yield from _lines(item, depth + 1)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            yield f"{'  ' * depth}{key}"
            yield from ("  " * (depth + 1) + ", ".join(_lines(row, 0)) for row in item)
        else:
            yield f"{'  ' * depth}{key}: {f'{item:.4g}' if isinstance(item, float) else item}"
