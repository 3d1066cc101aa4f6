"""Schedules and constants on ImageNet as presets: the paper's search and final training, and a modern final training.

Why here: they are facts of their sources, not defaults of the search. What is not a setting of these rooms
stands elsewhere: dropout in each published network's file, colour jitter in the data's presets `imagenet`
(search) and `imagenet-strong` (final training), RandAugment and random erasing in `imagenet-modern`.

Source: Cai et al. 2019 and the released search code. Where its two final recipes differ, this is the one of the
search code (no decay on batch norm, Nesterov, learning rate 0.05 at batch 256).
"""

from supernet.objective import ObjectiveSettings
from supernet.search_settings import SearchSettings
from supernet.specialise import TrainSettings

NUM_IMAGES = 1_281_167
NUM_SEARCH_IMAGES = NUM_IMAGES - 50_000
"""Training images left for the weights after 50 per class were set aside for the architecture."""


def num_steps(epochs: int, num_images: int, batch_size: int) -> int:
    """Return the optimiser steps of so many epochs; the last batch of an epoch counts, as in the released code."""
    return epochs * -(-num_images // batch_size)


def paper_warmup(num_images: int = NUM_SEARCH_IMAGES, batch_size: int = 256) -> SearchSettings:
    """Return the warm-up: 40 epochs on uniformly drawn paths, learning rate from 0.05 to 0."""
    steps = num_steps(40, num_images, batch_size)
    return SearchSettings(num_steps=steps, batch_size=batch_size, learning_rate=0.05, arch_every=0)


def paper_search(
    objective: ObjectiveSettings, num_images: int = NUM_SEARCH_IMAGES, batch_size: int = 256
) -> SearchSettings:
    """Return the search: 120 epochs, learning rate from 0.025 to 0, an architecture step every 5 weight steps.

    Args:
        objective: What the paper's search leaves to the target; the released default is `mul_log` with weight
            0.2, exponent 0.3 and a reference of 80 ms.
        num_images: Images of the training split.
        batch_size: Images per step.
    """
    steps = num_steps(120, num_images, batch_size)
    return SearchSettings(
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=0.025,
        arch_every=5,
        arch_learning_rate=1e-3,
        objective=objective,
    )


def paper_training(num_images: int = NUM_IMAGES, batch_size: int = 256) -> TrainSettings:
    """Return the final training: 300 epochs from fresh weights, label smoothing 0.1, cosine, no decay on batch norm."""
    return TrainSettings(
        num_steps=num_steps(300, num_images, batch_size),
        batch_size=batch_size,
        learning_rate=0.05,
        momentum=0.9,
        weight_decay=4e-5,
        decay_norms=False,
        label_smoothing=0.1,
        inherit=False,
    )


def modern_training(epochs: int, num_images: int = NUM_IMAGES, batch_size: int = 1024) -> TrainSettings:
    """Return a final training on inherited weights with what has become usual since the paper.

    Mixup and cutmix, averaged weights, warm-up, a learning rate in proportion to the batch. Beside it goes the data's
    preset `imagenet-modern`.

    Args:
        epochs: Of inherited weights; fresh ones want several hundred.
        num_images: Images of the training split.
        batch_size: Images per step.

    Source: torchvision's references/classification of 2021; its weight decay, rates and shares.
    """
    steps = num_steps(epochs, num_images, batch_size)
    return TrainSettings(
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=0.5 * batch_size / 1024,
        warmup_steps=steps // 20,
        weight_decay=2e-5,
        mixup=0.2,
        cutmix=1.0,
        average=0.9999,
    )


def fine_tuning(epochs: int, num_images: int = NUM_IMAGES, batch_size: int = 1024) -> TrainSettings:
    """Return a final training of a few epochs on weights that were distilled as they were shared.

    A tenth of `modern_training`'s rate, and nothing mixed: so few epochs polish what is there.

    Args:
        epochs: A few.
        num_images: Images of the training split.
        batch_size: Images per step.

    Source: Cai et al. 2020 (Once-for-all, arXiv 1908.09791) fine-tune inherited sub-networks for 25 or 75 epochs, or
    not at all. Differs: fewer, so that a further network costs half a GPU hour; not measured on ImageNet.
    """
    steps = num_steps(epochs, num_images, batch_size)
    return TrainSettings(
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=0.05 * batch_size / 1024,
        warmup_steps=steps // 20,
        weight_decay=2e-5,
        average=0.999,
    )
