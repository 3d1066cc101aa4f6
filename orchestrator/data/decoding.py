"""The fastest way to the pixels of an image in a shard. It must not know shards, order or augmentation.

Why here: decoding is what a core spends its time on. For JPEG photographs torchvision's decoder is twice as fast as
Pillow and gives the same pixels, bit for bit (`benchmarks/feed`). Decoding at a reduced scale, which only Pillow
offers, catches up where a photo has many times the pixels of the crop, and is behind for those of usual data sets.
"""

import numpy as np

from orchestrator.data.pixels import Pixels, decode

PHOTO_BYTES = 4096
"""Smaller images are left to Pillow: importing torchvision takes longer than many a small search needs to start."""

XMP_ORIENTATION = b"tiff:Orientation"
"""What a photo says in its XMP of how it lies, and torchvision does not read: it knows EXIF alone."""


def decode_fast(encoded: bytes, channels: int, origin: str) -> Pixels:
    """Decode an image, upright, to 8-bit pixels of shape (channels, height, width), as `pixels.decode` does."""
    photo = channels == 3 and len(encoded) >= PHOTO_BYTES and encoded.startswith(b"\xff\xd8")
    if photo and XMP_ORIENTATION not in encoded:
        try:
            return decode_jpeg(encoded)
        except RuntimeError:  # a JPEG that only Pillow reads, or a damaged one, of which it says more
            pass
    return decode(encoded, channels, origin)


def decode_jpeg(encoded: bytes) -> Pixels:
    """Decode a JPEG by torchvision, upright by its EXIF, shape (3, height, width).

    Raises:
        RuntimeError: If it is damaged or of a kind that torchvision does not read.
    """
    import torch
    from torchvision.io import ImageReadMode
    from torchvision.io import decode_jpeg as decoder

    data = torch.from_numpy(np.frombuffer(bytearray(encoded), np.uint8))
    return np.asarray(decoder(data, mode=ImageReadMode.RGB, apply_exif_orientation=True).numpy())
