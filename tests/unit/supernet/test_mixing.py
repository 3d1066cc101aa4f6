"""Mixing pairs of images: which, by how much, and the same however ranks cut the batch."""

import pytest
import torch
from torch.nn import functional as F

from supernet.mixing import NoMixing, make_mixing, swapped
from supernet.sync import rank_slice

BATCH = 12
IMAGES = torch.arange(BATCH, dtype=torch.float64).view(-1, 1, 1, 1).expand(BATCH, 2, 8, 8).contiguous()
LABELS = torch.arange(BATCH)
KINDS = {"mixup": (0.8, 0.0), "cutmix": (0.0, 1.0), "both": (0.2, 1.0)}


def test_neighbours_of_the_whole_batch_change_places():
    assert swapped(LABELS, 0).tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    assert swapped(LABELS[3:8], 3).tolist() == [3, 5, 4, 7, 6]  # 2 stands on another rank
    assert swapped(LABELS[:1], 0).tolist() == [0]
    assert swapped(LABELS[:0], 1).tolist() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_ranks", [2, 3, 6])
def test_ranks_that_hold_whole_pairs_mix_as_one_would(kind, num_ranks):
    mixing = make_mixing(*KINDS[kind], seed=3)
    for step in range(6):
        whole, targets = mixing(step, 0, IMAGES, LABELS)
        slices = [rank_slice(BATCH, rank, num_ranks) for rank in range(num_ranks)]
        parts = [mixing(step, start, IMAGES[start:stop], LABELS[start:stop]) for start, stop in slices]
        assert torch.equal(torch.cat([images for images, _ in parts]), whole)
        for place, (share, labels) in enumerate(targets):
            assert all(found[place][0] == share for _, found in parts)
            assert torch.equal(torch.cat([found[place][1] for _, found in parts]), labels)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_holds_as_much_of_each_label_as_the_loss_says(kind):
    """With image n all n, the mean of what is learnt from is the mean of the labels by their shares."""
    mixing = make_mixing(*KINDS[kind], seed=0)
    drawn = set()
    for step in range(40):
        mixed, targets = mixing(step, 0, IMAGES, LABELS)
        expected = sum(share * labels.double() for share, labels in targets)
        torch.testing.assert_close(mixed.mean((1, 2, 3)), expected, rtol=1e-12, atol=1e-12)
        assert sum(share for share, _ in targets) == pytest.approx(1)
        drawn.add(bool((mixed[:, :, :1, :1] == mixed).all()))
    assert drawn >= {"mixup": {True}, "cutmix": {False}, "both": {True, False}}[kind]


def test_mixed_labels_are_those_of_mixed_one_hots():
    logits = torch.randn(BATCH, BATCH, dtype=torch.float64)
    _, targets = make_mixing(0.8, 0.0, seed=1)(0, 0, IMAGES, LABELS)
    hots = sum(share * F.one_hot(labels, BATCH).double() for share, labels in targets)
    ours = sum(share * F.cross_entropy(logits, labels, label_smoothing=0.1) for share, labels in targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits, hots, label_smoothing=0.1))


def test_nothing_is_done_where_nothing_is_asked_and_the_layout_stays():
    assert isinstance(make_mixing(0.0, 0.0, seed=0), NoMixing)
    images, targets = NoMixing()(0, 0, IMAGES, LABELS)
    assert images is IMAGES
    assert targets == ((1.0, LABELS),)
    last = torch.randn(4, 3, 6, 6).to(memory_format=torch.channels_last)
    for kind in ("mixup", "cutmix"):
        mixed, _ = make_mixing(*KINDS[kind], seed=0)(0, 0, last, LABELS[:4])
        assert mixed.is_contiguous(memory_format=torch.channels_last)
