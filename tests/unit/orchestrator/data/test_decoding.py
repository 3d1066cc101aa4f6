"""The fast decoder gives the pixels of the plain one, bit for bit."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.data.decoding import PHOTO_BYTES, decode_fast, decode_jpeg
from orchestrator.data.pixels import decode
from supernet.errors import InputError


def jpeg(height: int, width: int, mode: str = "RGB", **more: Any) -> bytes:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    if more.pop("turned", False):
        more["exif"] = Image.Exif()
        more["exif"][0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **more)
    return buffer.getvalue()


KINDS = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"quality": 100},
    {"mode": "L"},
    {"mode": "CMYK"},
    {"turned": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("size", [(100, 133), (97, 164)])
def test_photos_decode_to_the_same_pixels(kind: dict[str, Any], size: tuple[int, int]) -> None:
    encoded = jpeg(*size, **kind)
    assert len(encoded) > PHOTO_BYTES
    assert np.array_equal(decode_fast(encoded, 3, ""), decode(encoded, 3, ""))
    assert np.array_equal(decode_jpeg(encoded), decode(encoded, 3, ""))
    assert np.array_equal(decode_fast(encoded, 1, ""), decode(encoded, 1, ""))


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" %s</rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize(
    "told", [b'tiff:Orientation="6"/>', b"><tiff:Orientation>6</tiff:Orientation></rdf:Description>"]
)
def test_a_photo_that_lies_by_its_xmp_alone_is_turned_too(told: bytes) -> None:
    encoded = jpeg(100, 133, xmp=XMP % told)
    assert len(encoded) > PHOTO_BYTES
    assert decode_fast(encoded, 3, "").shape == (3, 133, 100)
    assert np.array_equal(decode_fast(encoded, 3, ""), decode(encoded, 3, ""))
    both = jpeg(100, 133, xmp=XMP % told, turned=True)
    assert np.array_equal(decode_fast(both, 3, ""), decode(both, 3, ""))


def test_a_damaged_photo_is_told_as_ever() -> None:
    with pytest.raises(InputError, match="shard, row 3: not a readable image"):
        decode_fast(jpeg(100, 133)[:5000], 3, "shard, row 3")
