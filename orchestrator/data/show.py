"""A sheet of examples as training sees them, to be looked at. It must not know how batches are made.

Why here: a wrong label, a turned photo or an augmentation that hides the object is seen at once, and by nothing else.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from orchestrator.data.augment import augmented, preset, to_input_size
from orchestrator.data.format import Manifest, read_manifest
from orchestrator.data.keys import sample_keys
from orchestrator.data.pixels import Pixels, decode
from orchestrator.data.shards import read_group
from orchestrator.data.storage import Storage
from supernet.errors import InputError

MAX_CLASSES, EXAMPLES, VERSIONS, GAP, TEXT_WIDTH = 16, 2, 3, 4, 120
SCANNED_GROUPS = 64


def draw_sheet(root: str, file: Path, *, augment: str, size: int) -> None:
    """Draw a row per class: examples of the train split as evaluation sees them, each before its augmented versions.

    Args:
        root: The data set.
        file: The PNG to write.
        augment: Preset, see `orchestrator.data.augment`.
        size: Height and width of the images.

    Raises:
        InputError: If there is no data set, the preset is unknown, or the file cannot be written.
    """
    store = Storage(root)
    manifest = read_manifest(store)
    examples = _examples(store, manifest)
    cell = size + GAP
    width = TEXT_WIDTH + EXAMPLES * ((1 + VERSIONS) * cell + 2 * GAP)
    sheet = Image.new("RGB", (width, max(1, len(examples)) * cell + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, found) in enumerate(examples.items()):
        top = GAP + row * cell
        draw.text((GAP, top + size // 2 - 6), _short(manifest.class_names[label]), fill="black")
        for number, pixels in enumerate(found):
            left = TEXT_WIDTH + number * ((1 + VERSIONS) * cell + 2 * GAP)
            for place, version in enumerate(_versions(pixels, augment, size, label * EXAMPLES + number)):
                image = Image.fromarray(np.ascontiguousarray(version.transpose(1, 2, 0)))
                sheet.paste(image, (left + place * cell, top))
    try:
        sheet.save(file, format="PNG")
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror or error}); choose another place") from None


def _versions(pixels: Pixels, preset_name: str, size: int, index: int) -> list[Pixels]:
    """Return an image as evaluation sees it, and as three epochs of training do."""
    chosen = preset(preset_name)
    plain = to_input_size(pixels, (size, size), crop=not chosen.fixed)
    keys = sample_keys(0, np.arange(VERSIONS), np.full(VERSIONS, index))
    native = plain if chosen.fixed else pixels
    return [plain, *augmented([native] * VERSIONS, keys, chosen, (size, size))]


def _examples(store: Storage, manifest: Manifest) -> dict[int, list[Pixels]]:
    """Return the first images of some classes, spread over all of them."""
    count = min(MAX_CLASSES, manifest.num_classes)
    wanted = sorted({number * manifest.num_classes // count for number in range(count)})
    found: dict[int, list[Pixels]] = {label: [] for label in wanted}
    groups = [(s, number) for s in manifest.shards if s.split == "train" for number in range(len(s.rows))]
    for shard, number in groups[:SCANNED_GROUPS]:
        group = read_group(store, shard, number, manifest.num_classes)
        for row, label in enumerate(group.labels.tolist()):
            if label in found and len(found[label]) < EXAMPLES:
                found[label].append(decode(group.image(row), 3, group.place(row)))
        if all(len(images) == EXAMPLES for images in found.values()):
            break
    return {label: images for label, images in found.items() if images}


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:16] + ".."
