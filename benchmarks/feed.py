"""How fast images become batches: decoders, presets, the reader, resuming, and many images within bounded memory.

    python -m benchmarks.feed --json                      # decoders, reader, resuming: a minute
    python -m benchmarks.feed --images 1280000 --json     # and a set of so many images: built, checked, fed

Everything is made on the spot. Rates are images a second of one core, by processor time, the best of some rounds.
"""

import argparse
import io
import itertools
import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from benchmarks.common import report
from orchestrator.data.augment import PRESETS, Preset, augmented
from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from orchestrator.data.check import check
from orchestrator.data.decoding import decode_jpeg
from orchestrator.data.keys import sample_keys
from orchestrator.data.pixels import decode
from orchestrator.data.storage import Storage

SIZE = 224
COVERED = SIZE * 256 // 224
"""Pixels of the shorter side that evaluation crops from."""
SIDES = {"224": (224, 224), "500": (375, 500), "1500": (1000, 1500)}
ROUNDS = 5
APPETITE = (2000, 4000)
"""Images of 224 px that one GPU of today trains on in a second, from small networks to smaller ones."""


def photo(height: int, width: int, seed: int) -> bytes:
    """Return a JPEG with the smooth areas, the edges and the noise of a photograph: 0.3 to 0.4 bytes a pixel."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float64)
    noisy = np.clip(smooth + random.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def reduced(encoded: bytes) -> np.ndarray[Any, Any]:
    """Decode by Pillow at the smallest of JPEG's scales that covers what evaluation crops from."""
    with Image.open(io.BytesIO(encoded)) as image:
        scale = COVERED / min(image.size)
        image.draft("RGB", (int(image.width * scale), int(image.height * scale)))
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def simplejpeg(encoded: bytes, covered: int = 0) -> np.ndarray[Any, Any]:
    """Decode by simplejpeg, at the smallest of JPEG's scales that covers so many pixels a side; 0 for in full."""
    from simplejpeg import decode_jpeg as decoder

    return np.ascontiguousarray(decoder(encoded, min_height=covered, min_width=covered).transpose(2, 0, 1))


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "pillow": lambda encoded: decode(encoded, 3, "photo"),
    "pillow, reduced": reduced,
    "torchvision": decode_jpeg,
}
if find_spec("simplejpeg"):  # no part of onepath: `pip install simplejpeg` to compare
    DECODERS |= {"simplejpeg": simplejpeg, "simplejpeg, reduced": partial(simplejpeg, covered=COVERED)}


def rate(work: Callable[[], int]) -> float:
    """Return how many images a second of processor time `work` does, which returns how many it did."""
    work()
    best = 0.0
    for _ in range(ROUNDS):
        start = time.process_time()
        best = max(best, work() / (time.process_time() - start))
    return round(best, 1)


def decoders(num_photos: int) -> dict[str, Any]:
    """Return the rate of every decoder by size of the photos."""
    found: dict[str, Any] = {}
    for name, (height, width) in SIDES.items():
        photos = [photo(height, width, seed) for seed in range(max(4, num_photos * 224 * 224 // (height * width)))]
        found[name] = {decoder: rate(partial(_decode_all, photos, one)) for decoder, one in DECODERS.items()}
    return found


def _decode_all(photos: list[bytes], one: Callable[[bytes], Any]) -> int:
    for encoded in photos:
        one(encoded)
    return len(photos)


def write_parquet(folder: Path, images: Iterator[bytes], num_classes: int = 2, rows: int = 1000) -> str:
    """Write encoded images as a Parquet source, labelled in turn; return its name."""
    folder.mkdir()
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    with pq.ParquetWriter(folder / "train-00000-of-00001.parquet", schema, compression="none") as writer:
        for first in itertools.count(0, rows):
            some = list(itertools.islice(images, rows))
            if not some:
                return str(folder)
            labels = [(first + i) % num_classes for i in range(len(some))]
            writer.write_table(pa.table({"image": some, "label": labels}, schema=schema))
    raise AssertionError


def presets(num_photos: int) -> dict[str, float]:
    """Return how many decoded photos of 500 px, or images of 32 px where a preset is fixed, each preset augments."""
    found = {}
    for name, chosen in PRESETS.items():
        height, width = (32, 32) if chosen.fixed else SIDES["500"]
        size = (32, 32) if chosen.fixed else (SIZE, SIZE)
        images = [np.asarray(decode_jpeg(photo(height, width, seed))) for seed in range(num_photos)]
        keys = sample_keys(0, np.zeros(num_photos, np.int64), np.arange(num_photos))
        found[name] = rate(partial(_augment_all, images, keys, chosen, size))
    return found


def _augment_all(images: list[Any], keys: Any, chosen: Preset, size: tuple[int, int]) -> int:
    return len(augmented(images, keys, chosen, size))


def reader(folder: Path, num_photos: int) -> dict[str, Any]:
    """Return the rate of training batches as a search reads them, from photos, and the cores that a GPU needs."""
    found: dict[str, Any] = {}
    for name, (height, width) in list(SIDES.items())[:2]:
        source = write_parquet(folder / name, (photo(height, width, seed) for seed in range(num_photos)))
        build(source, folder / f"{name}-set", num_processes=1)
        data = ImageData(folder / f"{name}-set", input_size=(3, SIZE, SIZE), seed=0, augment="imagenet")
        stream = data.batches("train", 16)
        found[name] = rate(partial(read_two, stream))
    appetite = " to ".join(str(round(images / found["500"])) for images in APPETITE)
    return {**found, "cores that a GPU of 2000 to 4000 images a second needs, 500 px": appetite}


def read_two(stream: Iterator[tuple[Tensor, Tensor]]) -> int:
    """Read two batches; return how many images are in them."""
    return sum(len(next(stream)[0]) for _ in range(2))


def tiny(count: int) -> Iterator[bytes]:
    """Yield small gray images, no two alike."""
    for number in range(count):
        random = np.random.default_rng(number)
        yield b"P5 8 8 255\n" + number.to_bytes(4, "big") + random.integers(0, 256, 60, np.uint8).tobytes()


def resuming(folder: Path, num_images: int = 997, batch: int = 24) -> dict[str, Any]:
    """Stop and resume two epochs at changing numbers of ranks; return how often the samples of an epoch were seen."""
    source = write_parquet(folder / "resume", tiny(num_images))
    build(source, folder / "resume-set", rows_per_group=50, num_processes=1)
    seen: list[bytes] = []
    start, ranks = 0, itertools.cycle([1, 2, 3, 2, 1, 3])
    total = ImageData(folder / "resume-set", input_size=(1, 8, 8), seed=0).num_examples("train")
    while len(seen) < 2 * total:
        num_ranks, stop = next(ranks), start + 5
        streams = [
            ImageData(folder / "resume-set", input_size=(1, 8, 8), seed=0).batches(
                "train", batch, start=start, rank=rank, num_ranks=num_ranks
            )
            for rank in range(num_ranks)
        ]
        for _ in range(start, stop):
            seen += [image.numpy().tobytes() for stream in streams for image in next(stream)[0]]
        start = stop
    epochs = [Counter(seen[first : first + total]) for first in (0, total)]
    return {
        "samples": total,
        "ranks in turn": "1, 2, 3, 2, 1, 3",
        "each exactly once in each epoch": all(len(e) == total and set(e.values()) == {1} for e in epochs),
    }


def _stage(name: str, folder: str, processes: int, channel: Any) -> None:
    """Do one stage in a process of its own, and tell its seconds of processors and the most memory it held."""
    start = time.perf_counter()
    cores_before = sum(os.times()[:4])
    before = _peak_mib()
    if name == "build":
        build(f"{folder}/source", f"{folder}/set", num_processes=processes)
    elif name == "check":
        assert check(Storage(f"{folder}/set"), num_processes=processes)[1] == []
    else:
        data = ImageData(f"{folder}/set", input_size=(1, 8, 8), seed=0, cache_mib=16)
        stream = data.batches("train", 256)
        next(stream)
        channel.send(time.perf_counter() - start)
        for _ in range(data.num_examples("train") // 256):
            next(stream)
    channel.send((sum(os.times()[:4]) - cores_before, _peak_mib(), before))


def _peak_mib() -> float:
    """Return the most memory this process held; `getrusage` would count what its parent held before the start."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def many(folder: Path, count: int, processes: int) -> dict[str, Any]:
    """Build, check and feed a set of many images; return processor seconds, rates and memory of each stage."""
    folder.mkdir()
    write_parquet(folder / "source", tiny(count), num_classes=100)
    found: dict[str, Any] = {"images": count}
    context = multiprocessing.get_context("spawn")
    for name in ("build", "check", "feed"):
        ours, theirs = context.Pipe()
        child = context.Process(target=_stage, args=(name, str(folder), processes, theirs))
        child.start()
        theirs.close()  # so that a stage that fails ends the waiting
        if name == "feed":
            found["first batch, seconds"] = round(ours.recv(), 2)
        seconds, peak, before = ours.recv()
        child.join()
        found[name] = {
            "processor seconds": round(seconds, 1),
            "images a second a core": round(count / seconds),
            "memory above imports, MiB": round(peak - before),
        }
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--photos", type=int, default=64, help="photos of 224 px to decode (default: 64)")
    parser.add_argument("--images", type=int, default=0, help="also a set of so many small images, and a tenth of it")
    parser.add_argument("--processes", type=int, default=1, help="processes that build and check it (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="onepath-feed-") as name:
        folder = Path(name)
        result: dict[str, Any] = {
            "decode, images a second a core": decoders(args.photos),
            "augmented by preset, images a second a core": presets(max(8, args.photos // 4)),
            "training batches at 224 px (imagenet), images a second a core": reader(folder, args.photos),
            "resuming": resuming(folder),
        }
        for count in (args.images // 10, args.images):
            if count:
                result[f"set of {count:,}"] = many(folder / str(count), count, args.processes)
    report(json.loads(json.dumps(result)), as_json=args.json)


if __name__ == "__main__":
    main()
