"""Reading a data set: order, ranks, resuming, augmentation, memory."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import build_photos
from torchvision.transforms import v2

from orchestrator.data.augment import PRESETS, augmented, to_input_size
from orchestrator.data.batches import ImageData
from orchestrator.data.build import build
from orchestrator.data.keys import mix, sample_keys
from orchestrator.data.order import ordered
from supernet.errors import InputError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "digits"
    build("digits", root, validation_fraction=0.2, test_fraction=0.2, seed=0, rows_per_group=40, groups_per_file=5)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_photos(tmp_path_factory.mktemp("photos"))


def open_digits(root: Path, augment: str = "none", **more: int) -> ImageData:
    return ImageData(root, input_size=(1, 8, 8), seed=more.pop("seed", 0), augment=augment, **more)


def names(images: torch.Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


def test_every_sample_once_per_epoch_in_another_order(digits: Path) -> None:
    data = open_digits(digits)
    everything = Counter(name for images, _ in data.once("train", 100) for name in names(images))
    total = data.num_examples("train")
    assert sum(everything.values()) == total
    stream = data.batches("train", 64)
    flat: list[bytes] = []
    while len(flat) < 3 * total:
        flat += names(next(stream)[0])
    epochs = [flat[i * total : (i + 1) * total] for i in range(3)]
    for epoch in epochs:
        assert Counter(epoch) == everything
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("augment", ["light", "flip-crop"])
@pytest.mark.parametrize("num_ranks", [2, 3, 4, 7])
def test_ranks_slice_the_same_batches(digits: Path, augment: str, num_ranks: int) -> None:
    whole = list(islice(open_digits(digits, augment).batches("train", 60), 25))
    parts = [
        list(islice(open_digits(digits, augment).batches("train", 60, rank=rank, num_ranks=num_ranks), 25))
        for rank in range(num_ranks)
    ]
    for i, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([part[i][0] for part in parts]), images)
        assert torch.equal(torch.cat([part[i][1] for part in parts]), labels)


@pytest.mark.parametrize("augment", sorted(PRESETS))
def test_resuming_needs_only_the_batch_number(photos: Path, augment: str) -> None:
    def stream(start: int, rank: int = 0, num_ranks: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
        data = ImageData(photos, input_size=(3, 16, 16), seed=3, augment=augment)
        return list(islice(data.batches("train", 6, start=start, rank=rank, num_ranks=num_ranks), 8 - start))

    whole, resumed, half = stream(0), stream(5), stream(5, rank=1, num_ranks=2)
    for (images, labels), (again, same_labels), (part, _) in zip(whole[5:], resumed, half, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, same_labels)
        assert torch.equal(images[3:], part)


def test_changes_of_ranks_in_mid_epoch_lose_and_repeat_nothing(digits: Path) -> None:
    """Two epochs and more, stopped every five batches and gone on with by another number of ranks."""
    total, batch, seen = open_digits(digits).num_examples("train"), 24, list[bytes]()
    everything = Counter(name for images, _ in open_digits(digits).once("train", 100) for name in names(images))
    for start, num_ranks in zip(range(0, 2 * total // batch + 5, 5), cycle([1, 2, 3, 2, 1, 3]), strict=False):
        data = open_digits(digits)
        streams = [data.batches("train", batch, start=start, rank=r, num_ranks=num_ranks) for r in range(num_ranks)]
        for _ in range(5):
            seen += [name for stream in streams for name in names(next(stream)[0])]
    assert [Counter(seen[first : first + total]) for first in (0, total)] == [everything] * 2


def test_batches_are_pinned_where_there_is_a_gpu(digits: Path) -> None:
    batch = next(open_digits(digits).batches("train", 8))
    assert [part.is_pinned() for part in batch] == [torch.cuda.is_available()] * 2


def test_split_smaller_than_a_batch(photos: Path) -> None:
    data = ImageData(photos, input_size=(3, 8, 8), seed=0)
    total = data.num_examples("validation")
    images, labels = next(data.batches("validation", 3 * total + 1))
    assert len(images) == len(labels) == 3 * total + 1
    counts = sorted(Counter(names(images)).values())
    assert counts == [3] * (total - 1) + [4]


def test_once_is_in_order_and_limited(digits: Path) -> None:
    data = open_digits(digits, "flip-crop")
    whole = torch.cat([images for images, _ in data.once("test", 50)])
    assert len(whole) == data.num_examples("test")
    sizes = [len(images) for images, _ in data.once("test", 50, limit=120)]
    assert sizes == [50, 50, 20]
    assert torch.equal(torch.cat([images for images, _ in data.once("test", 7, limit=21)]), whole[:21])


def test_normalised_to_the_train_split(digits: Path, photos: Path) -> None:
    images = torch.cat([images for images, _ in open_digits(digits).once("train", 100)])
    assert images.mean().abs() < 1e-5
    assert abs(images.std(correction=0) - 1) < 1e-5
    colour = ImageData(digits, input_size=(3, 8, 8), seed=0)
    repeated = torch.cat([images for images, _ in colour.once("train", 100)])
    assert torch.equal(repeated, images.expand(-1, 3, -1, -1))
    gray = ImageData(photos, input_size=(1, 16, 16), seed=0)
    assert next(gray.batches("train", 4))[0].shape == (4, 1, 16, 16)


def test_shift_and_flip_match_a_per_sample_reference(digits: Path) -> None:
    """Pad, crop and mirror image by image with torchvision's functions, at the offsets the keys name."""
    data = open_digits(digits, "flip-crop", seed=5)
    plain = open_digits(digits, seed=5)
    images, _ = next(data.batches("train", 64, start=30))
    originals, _ = next(plain.batches("train", 64, start=30))
    total = data.num_examples("train")
    epochs, within = np.divmod(np.arange(30 * 64, 31 * 64), total)
    assert set(epochs.tolist()) == {1}
    sizes = tuple(n for shard in data.manifest.shards if shard.split == "train" for n in shard.rows)
    keys = sample_keys(5, epochs, ordered(5, epochs, within, 0, sizes))
    (mean,), (std,) = data.manifest.normalisation(1)
    offsets = set()
    for image, original, key in zip(images, originals, keys, strict=True):
        one = key[None]
        top, left, mirrored = (int(mix(one ^ np.uint64(n))[0]) for n in (1, 2, 3))
        padded = v2.functional.pad(original, [1, 1, 1, 1], fill=-mean / std)
        expected = v2.functional.crop(padded, top % 3, left % 3, 8, 8)
        expected = v2.functional.horizontal_flip(expected) if mirrored % 2 else expected
        torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
        offsets.add((top % 3, left % 3, mirrored % 2))
    assert len(offsets) == 18  # all there are


def test_light_never_mirrors_and_augmentation_changes_with_the_epoch(digits: Path) -> None:
    data = open_digits(digits, "light")
    total = data.num_examples("train")
    sizes = tuple(n for shard in data.manifest.shards if shard.split == "train" for n in shard.rows)
    orders = [ordered(0, np.full(total, epoch), np.arange(total), 0, sizes) for epoch in range(2)]
    epochs = [next(data.batches("train", total, start=epoch))[0][order.argsort()] for epoch, order in enumerate(orders)]
    same = (epochs[0] == epochs[1]).flatten(1).all(1).float().mean()
    assert 1 / 9 - 0.05 < same < 1 / 9 + 0.05
    plain = torch.cat([images for images, _ in open_digits(digits).once("train", 500)])
    inner = epochs[0][:, :, 1:-1, 1:-1]
    shifts = torch.stack(
        [(inner == plain[:, :, i : i + 6, j : j + 6]).flatten(1).all(1) for i in range(3) for j in range(3)]
    )
    assert shifts.any(0).all()


@pytest.mark.parametrize("name", ["imagenet-modern", "flip-crop-modern"])
def test_modern_presets_are_torchvisions_transforms_by_key(name: str) -> None:
    """Each image by itself, with torch's global generator at its key; in a fixed preset after shift and flip."""
    chosen, random = PRESETS[name], np.random.default_rng(0)
    images = [random.integers(0, 256, (3, 16, 16), np.uint8) for _ in range(40)]
    keys = sample_keys(0, np.zeros(40, np.int64), np.arange(40))
    size = (16, 16)
    found = augmented(images, keys, chosen, size)
    first = augmented(images, keys, replace(chosen, operations=0, erase=0.0), size) if chosen.fixed else images
    crop = [] if chosen.fixed else [v2.RandomResizedCrop(size, scale=(0.08, 1.0)), v2.RandomHorizontalFlip()]
    usual = v2.Compose([*crop, v2.RandAugment(2, 9), v2.RandomErasing(0.1, value=127)])
    before = torch.get_rng_state()
    for image, one, key in zip(first, found, keys, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(key) >> 1)
            assert torch.equal(usual(torch.from_numpy(image)), torch.from_numpy(one))
    assert torch.equal(before, torch.get_rng_state())
    assert any((one == 127).all(0).sum() > 4 for one in found)  # some are erased


def test_keys_have_no_pattern() -> None:
    keys = sample_keys(0, np.repeat(np.arange(50), 1000), np.tile(np.arange(1000), 50))
    assert len(np.unique(keys)) == len(keys)
    bits = np.unpackbits(keys.view(np.uint8)).reshape(-1, 64).mean(0)
    assert np.abs(bits - 0.5).max() < 0.02
    assert not np.array_equal(keys, sample_keys(1, np.repeat(np.arange(50), 1000), np.tile(np.arange(1000), 50)))


def test_centre_crop_matches_the_usual_evaluation() -> None:
    random = np.random.default_rng(0)
    for height, width in ((60, 90), (90, 60), (64, 64), (10, 14)):
        pixels = random.integers(0, 256, (3, height, width), np.uint8)
        usual = v2.Compose([v2.Resize(round(28 * 256 / 224), antialias=True), v2.CenterCrop(28)])
        expected = usual(torch.from_numpy(pixels)).numpy()
        assert np.abs(to_input_size(pixels, (28, 28), crop=True).astype(int) - expected).max() <= 1
    assert to_input_size(pixels, (28, 20), crop=True).shape == (3, 28, 20)
    assert to_input_size(pixels, (28, 20), crop=False).shape == (3, 28, 20)


def test_memory_stays_bounded_and_the_stream_does_not_change(digits: Path) -> None:
    roomy, tight = open_digits(digits), open_digits(digits, cache_mib=0)
    pairs = islice(zip(roomy.batches("train", 64), tight.batches("train", 64), strict=True), 40)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)
    assert len(tight._groups._kept) == 1
    assert len(roomy._groups._kept) == 27
    assert 27 * 40 * 64 < roomy._groups.kept_bytes < 1e6


def test_what_the_cache_is_said_to_hold_is_what_it_takes(digits: Path) -> None:
    data = open_digits(digits)
    tracemalloc.start()
    for _ in islice(data.batches("train", 64), 40):
        pass
    told, before = data._groups.kept_bytes, tracemalloc.get_traced_memory()[0]
    data._groups._kept.clear()
    taken = before - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert told == pytest.approx(taken, rel=0.2)


def test_wrong_arguments_are_refused(digits: Path, tmp_path: Path) -> None:
    data = open_digits(digits)
    with pytest.raises(InputError, match="batch_size 3: fewer images than ranks, 4"):
        data.batches("train", 3, num_ranks=4)
    with pytest.raises(InputError, match="rank 2 of 2"):
        data.batches("train", 10, rank=2, num_ranks=2)
    with pytest.raises(InputError, match="unknown split 'val'; known are test, train, validation"):
        data.batches("val", 10)
    with pytest.raises(InputError, match="limit 0"):
        data.once("test", 10, limit=0)
    with pytest.raises(InputError, match="unknown preset 'lite'; did you mean 'light'"):
        open_digits(digits, "lite")
    with pytest.raises(InputError, match="1 or 3 channels"):
        ImageData(digits, input_size=(2, 8, 8), seed=0)
    with pytest.raises(InputError, match="make one with: onepath data build"):
        ImageData(tmp_path, input_size=(1, 8, 8), seed=0)
