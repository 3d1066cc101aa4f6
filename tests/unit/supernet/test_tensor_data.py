"""Tensors as data: every image once per epoch, batches a pure function of their number, ranks that share them."""

from itertools import islice

import pytest
import torch

from supernet.errors import InputError
from supernet.tensor_data import TensorData


def tensors(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(count).float().view(-1, 1, 1, 1), torch.arange(count)


DATA = TensorData({"train": tensors(10), "validation": tensors(4), "test": tensors(3)}, seed=1)


def labels(split: str, size: int, count: int, **more: int) -> list[list[int]]:
    return [batch[1].tolist() for batch in islice(DATA.batches(split, size, **more), count)]


def test_every_image_once_per_epoch_in_another_order() -> None:
    flat = [label for batch in labels("train", 4, 5) for label in batch]
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]
    assert flat[:10] != list(range(10))
    for images, numbers in islice(DATA.batches("train", 4), 5):
        assert images.flatten().tolist() == numbers.tolist()


def test_a_batch_is_a_function_of_its_number() -> None:
    assert labels("train", 4, 3, start=2) == labels("train", 4, 5)[2:]


def test_ranks_share_a_batch() -> None:
    ranks = [labels("train", 5, 6, rank=rank, num_ranks=2) for rank in range(2)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == labels("train", 5, 6)


def test_once_is_in_order_and_limited() -> None:
    assert [batch[1].tolist() for batch in DATA.once("test", 2)] == [[0, 1], [2]]
    assert [batch[1].tolist() for batch in DATA.once("train", 4, limit=6)] == [[0, 1, 2, 3], [4, 5]]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="no 'test'; expected train, validation, test"):
        TensorData({"train": tensors(2), "validation": tensors(2)})
    with pytest.raises(InputError, match="0 images with 0 labels"):
        TensorData({"train": tensors(2), "validation": tensors(0), "test": tensors(1)})
    with pytest.raises(InputError, match="unknown split 'tests'; did you mean 'test'"):
        next(DATA.batches("tests", 1))
