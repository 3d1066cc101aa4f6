"""Augmentation presets: what is done to an image between the shard and the network.

Why here: the reader stays the same for tiny digits and for photographs. A preset is either `fixed`, whose images are
brought to the input size once and then shifted and flipped as a batch, or free, whose images are cropped one by one
from their native size. It must not know files, splits or batches of which rank. torchvision is imported where it is
needed: that takes longer than many a small search needs to start.

Whatever is random about a sample is a function of its key, one 64-bit number per (seed, epoch, sample), so it does not
depend on ranks, on loader workers or on what ran before. What mixes images with one another is a matter of the final
training, see `supernet.mixing`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.data.keys import Keys, mix
from orchestrator.data.pixels import Pixels
from supernet.errors import InputError, nearest

Size = tuple[int, int]
MID_GRAY = 127


@dataclass(frozen=True)
class Preset:
    """One way to augment.

    Attributes:
        shift: Pad by an eighth of the input size on every side and crop at random (4 pixels at 32).
        flip: Mirror half of the images.
        crop: Train on random crops of 8 to 100 % of the native image, and evaluate on the centre crop of the image
            resized to 256/224 of the input size, as is usual for photographs. False is a fixed preset, which squeezes
            the whole image to the input size.
        jitter: Change of brightness, contrast, saturation and hue.
        operations: Operations of RandAugment on each image (Cubuk et al. 2019), at torchvision's magnitude 9 of 30.
        erase: Share of the images in which a random rectangle turns gray (Zhong et al. 2017).
    """

    shift: bool = False
    flip: bool = False
    crop: bool = False
    jitter: tuple[float, float, float, float] | None = None
    operations: int = 0
    erase: float = 0.0

    @property
    def fixed(self) -> bool:
        """Whether images are brought to the input size before anything random."""
        return not self.crop

    def transform(self, size: Size) -> Callable[[Tensor], Tensor] | None:
        """Return what is done to each image by itself, a tensor of shape (channels, h, w); None for nothing."""
        if not (self.crop or self.jitter or self.operations or self.erase):
            return None
        from torchvision.transforms import v2

        steps: list[Any] = []
        if self.crop:
            steps.append(v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True))
            steps += [v2.RandomHorizontalFlip()] if self.flip else []
        steps += [v2.ColorJitter(*self.jitter)] if self.jitter else []
        steps += [v2.RandAugment(self.operations)] if self.operations else []
        steps += [v2.RandomErasing(self.erase, value=MID_GRAY)] if self.erase else []
        composed: Callable[[Tensor], Tensor] = v2.Compose(steps)
        return composed


# The colour jitter of `imagenet` is the one of the released ProxylessNAS code, `imagenet-strong` its "strong" choice.
# The `modern` ones are torchvision's recipe of 2021 (its references/classification), with RandAugment.
PRESETS = {
    "none": Preset(),
    "light": Preset(shift=True),
    "flip-crop": Preset(shift=True, flip=True),
    "flip-crop-modern": Preset(shift=True, flip=True, operations=2, erase=0.1),
    "imagenet": Preset(crop=True, flip=True, jitter=(32 / 255, 0.0, 0.5, 0.0)),
    "imagenet-strong": Preset(crop=True, flip=True, jitter=(0.4, 0.4, 0.4, 0.1)),
    "imagenet-modern": Preset(crop=True, flip=True, operations=2, erase=0.1),
}


def preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        InputError: If there is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"augment: unknown preset {name!r}{nearest(name, PRESETS)}")
    return PRESETS[name]


def to_input_size(pixels: Pixels, size: Size, *, crop: bool) -> Pixels:
    """Bring one image, shape (channels, h, w), to the input size without randomness (antialiased, bilinear)."""
    if pixels.shape[1:] == size and not crop:
        return pixels
    image = torch.from_numpy(pixels.copy())
    if not crop:
        return _resized(image, size).numpy()
    from torchvision.transforms.v2.functional import center_crop

    scale = max(round(side * 256 / 224) / native for side, native in zip(size, image.shape[1:], strict=True))
    native_height, native_width = image.shape[1:]
    resized = _resized(image, (int(native_height * scale + 1e-6), int(native_width * scale + 1e-6)))
    return np.asarray(center_crop(resized, list(size)))


def _resized(image: Tensor, size: Size) -> Tensor:
    """Resize an 8-bit image tensor, shape (channels, h, w), as torchvision does."""
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def augmented(images: Sequence[Pixels] | Pixels, keys: Keys, chosen: Preset, size: Size) -> Pixels:
    """Augment images, each by its own key.

    Args:
        images: Of a fixed preset, shape (b, channels, *size); else b images of any size.
        keys: Shape (b,).
        chosen: The preset.
        size: (height, width) to come out.

    Returns:
        Shape (b, channels, *size).
    """
    moved = _shift_and_flip(np.asarray(images), keys, chosen) if chosen.fixed else images
    transform = chosen.transform(size)
    return np.asarray(moved) if transform is None else _one_by_one(moved, keys, transform)


def _shift_and_flip(images: Pixels, keys: Keys, chosen: Preset) -> Pixels:
    """Shift and flip a batch of images of the input size."""
    if not (chosen.shift or chosen.flip):
        return images
    batch, channels, height, width = images.shape
    pad_h, pad_w = (max(1, height // 8), max(1, width // 8)) if chosen.shift else (0, 0)
    top = (mix(keys ^ np.uint64(1)) % np.uint64(2 * pad_h + 1)).astype(np.intp)
    left = (mix(keys ^ np.uint64(2)) % np.uint64(2 * pad_w + 1)).astype(np.intp)
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.arange(width)
    if chosen.flip:
        mirrored = (mix(keys ^ np.uint64(3)) & np.uint64(1)).astype(bool)
        columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    padded = np.pad(images, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    return padded[
        np.arange(batch)[:, None, None, None],
        np.arange(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _one_by_one(images: Sequence[Pixels] | Pixels, keys: Keys, transform: Callable[[Tensor], Tensor]) -> Pixels:
    """Transform images of any size one by one.

    The transforms of torchvision draw from torch's global CPU generator and take no other, so it is seeded per image
    and put back as it was.
    """
    generator = torch.default_generator
    state = generator.get_state()
    try:
        done = []
        for image, key in zip(images, keys.tolist(), strict=True):
            generator.manual_seed(key >> 1)
            done.append(np.asarray(transform(torch.from_numpy(image.copy()))))
    finally:
        generator.set_state(state)
    return np.stack(done)


def normalise(images: Pixels, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return float32 images from 8-bit ones: scaled to 0..1, less the mean, over the standard deviation."""
    scale = torch.tensor([1 / (255 * s) for s in std]).view(-1, 1, 1)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(-1, 1, 1)
    return torch.from_numpy(np.ascontiguousarray(images)).float().mul_(scale).add_(offset)
