"""An encoded image turned into pixels, within stated bounds. It must not know torch, data sets, ray or mlflow.

Why here: whoever builds, checks or reads a data set decodes with these few functions, so that all see the same pixels.
Nothing of an image is decoded before its header is within the bounds, and only plain raster formats are opened: Pillow
would start another program for some.
"""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from supernet.errors import InputError

MAX_MIB = 64
MAX_MEGAPIXELS = 64
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def open_image(encoded: bytes, origin: str) -> Image.Image:
    """Decode an image, upright.

    Args:
        encoded: Bytes of one of `FORMATS`, at most `MAX_MIB` MiB and `MAX_MEGAPIXELS` million pixels.
        origin: What to call the image in an error.

    Raises:
        InputError: If the bytes are no such image, are cut short, or hold more than 8 bits a channel.
    """
    if not encoded:
        raise InputError(f"{origin}: no image, 0 bytes; repair or remove it")
    if len(encoded) > MAX_MIB * 2**20:
        raise InputError(f"{origin}: {len(encoded) / 2**20:.0f} MiB, at most {MAX_MIB} are read; make it smaller")
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_MEGAPIXELS * 10**6:
                raise InputError(
                    f"{origin}: {width} x {height} pixels, at most {MAX_MEGAPIXELS} million are read; make it smaller"
                )
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except InputError:
        raise
    except UnidentifiedImageError:  # its text names an address in memory, another one each time
        known = ", ".join(FORMATS)
        raise InputError(f"{origin}: not a readable image (none of {known}); repair or remove it") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        raise InputError(f"{origin}: not a readable image ({error}); repair or remove it") from None
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{origin}: image mode {image.mode!r} has more than 8 bits a channel; convert it to 8 bits")
    return image


def num_channels(image: Image.Image) -> int:
    """Return 1 for an image that is gray by its mode, else 3."""
    return 1 if image.mode in ("1", "L", "LA") else 3


def decode(encoded: bytes, channels: int | None, origin: str) -> Pixels:
    """Decode an image, see `open_image`, to 8-bit pixels of shape (channels, height, width).

    Args:
        encoded: Bytes of the file.
        channels: 1 (gray), 3 (RGB), or None for what the image itself is.
        origin: What to call the image in an error.
    """
    image = open_image(encoded, origin)
    if (channels or num_channels(image)) == 1:
        return np.asarray(image.convert("L"))[np.newaxis]
    return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def encode_png(pixels: Pixels) -> bytes:
    """Encode 8-bit pixels, shape (height, width) or (height, width, 3), without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
