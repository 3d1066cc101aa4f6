"""Loader workers, processes that read and augment: the stream is that of the reading process."""

from itertools import islice
from pathlib import Path

import torch
from photos import build_photos

from orchestrator.data.batches import ImageData


def test_loader_workers_give_the_same_stream_and_leave_the_global_generator_alone(tmp_path: Path) -> None:
    photos = build_photos(tmp_path)

    def make(workers: int) -> ImageData:
        return ImageData(photos, input_size=(3, 16, 16), seed=3, augment="imagenet", num_loader_workers=workers)

    torch.manual_seed(7)
    before = torch.get_rng_state()
    plain = list(islice(make(0).batches("train", 6, start=2), 7))
    loaded = list(islice(make(2).batches("train", 6, start=2), 7))
    for (images, labels), (again, same_labels) in zip(plain, loaded, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, same_labels)
    once = [list(make(workers).once("validation", 3)) for workers in (0, 2)]
    assert [len(images) for images, _ in once[0]] == [len(images) for images, _ in once[1]]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(*once, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
