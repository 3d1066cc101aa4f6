"""A network as whoever loads it sees it: images in, class names with probabilities out. It travels with the model.

Why here: MLflow loads it from the model's own `code` folder, and `onepath pull` writes it beside the files. It must
import nothing of this product: numpy, the one runtime that the files are for, and Pillow where files of images come.
"""

import base64
import binascii
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]

GRAPH, PROGRAM = "model.onnx", "model.pt2"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
WANTED = (
    "give encoded images (bytes, or base64 text), 8-bit pixels of shape (N, height, width, channels), or prepared "
    "float32 tensors of shape (N, {})"
)


class ImageClassifier:
    """The network of a folder.

    Args:
        folder: Holds `preprocessing.json` and the file that it names.
        runtime: `onnxruntime`, `openvino` or `torch`; by default the one that the registered numbers are of, or one
            whose file is there.

    Raises:
        ImportError: If the runtime is not installed, with what to do.
    """

    def __init__(self, folder: str | Path, runtime: str = "") -> None:
        self.about = json.loads((Path(folder) / "preprocessing.json").read_text())
        self.class_names: list[str] = self.about["class_names"]
        self.input_size: tuple[int, int, int] = tuple(self.about["input_size"])
        runtime = runtime or runtime_for(Path(folder), self.about["runtime"])
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime {runtime!r}: use one of {', '.join(RUNTIMES)}")
        try:
            self._run = RUNTIMES[runtime](Path(folder), self.about)
        except ImportError as error:
            raise ImportError(
                f"{error}; this network runs on {runtime} (pip install {runtime}); where torch is installed, runtime "
                "'torch' takes its torch export: mlflow.pyfunc.load_model(uri, model_config={'runtime': 'torch'})"
            ) from error

    def predict(self, images: Any, params: Any = None) -> list[dict[str, Any]]:
        """Return the class of each image.

        Args:
            images: Encoded images as a list, array or single column of bytes or base64 texts; 8-bit pixels of shape
                (N, height, width) or (N, height, width, channels), of any size; or tensors as `prepare` makes them. One
                image as an array is `array[None]`.
            params: Not used; MLflow hands it on.

        Returns:
            For each image `label`, its `probability`, and `probabilities` of all classes by name, the highest first.

        Raises:
            ValueError: If the images are none of these.
        """
        probabilities = softmax(self.logits(images))
        answers = []
        for row in probabilities:
            order = np.argsort(-row, kind="stable")
            named = {self.class_names[i]: float(row[i]) for i in order}
            label = self.class_names[order[0]]
            answers.append({"label": label, "probability": named[label], "probabilities": named})
        return answers

    def logits(self, images: Any) -> Floats:
        """Return what the network says of images, shape (N, num_classes); as `predict`."""
        prepared, batch = self.prepare(images), self.about["batch"]
        if not len(prepared):
            return np.empty((0, len(self.class_names)), np.float32)
        # In batches of the target's size, the last one filled up: in low precision another size rounds otherwise.
        parts = [range(start, start + batch) for start in range(0, len(prepared), batch)]
        found = [self._run(np.take(prepared, part, axis=0, mode="wrap")) for part in parts]
        return np.concatenate(found)[: len(prepared)]

    def prepare(self, images: Any) -> Floats:
        """Return images as the network takes them: float32, shape (N, channels, height, width), normalised."""
        if hasattr(images, "columns"):  # a table
            if len(images.columns) != 1:
                raise ValueError(f"{len(images.columns)} columns: one is wanted, of encoded images")
            images = list(images.iloc[:, 0])
        if isinstance(images, dict):
            if len(images) != 1:
                raise ValueError(f"{len(images)} entries: one is wanted, of encoded images")
            (images,) = images.values()
        if isinstance(images, bytes | str):
            images = [images]
        if isinstance(images, Sequence) or (isinstance(images, np.ndarray) and images.dtype.kind in "OSU"):
            values = list(np.ravel(images)) if isinstance(images, np.ndarray) else list(images)
            if values and all(isinstance(value, bytes | str) for value in values):
                return self._normalised([self._decoded(value) for value in values])
        try:
            array = np.asarray(images)
        except ValueError:  # rows of different lengths
            array = np.empty(0, object)
        if array.dtype.kind == "f" and array.ndim == 4 and array.shape[1:] == self.input_size:
            if not np.isfinite(array).all():
                raise ValueError("a value is infinite or no number")
            return array.astype(np.float32)
        if array.dtype.kind in "iu" and array.ndim in (3, 4) and array.size:
            if array.min() < 0 or array.max() > 255:
                raise ValueError(f"pixels from {array.min()} to {array.max()}: 0 to 255 are wanted")
            if array.ndim == 3 and array.shape[2] in (1, 3, 4):  # by its shape also gray images that few pixels wide
                raise ValueError(
                    f"pixels of shape {array.shape}: give one image of shape (height, width, channels) as array[None], "
                    "and gray images as array[..., None]"
                )
            pixels = array.astype(np.uint8)[..., np.newaxis] if array.ndim == 3 else array.astype(np.uint8)
            if pixels.shape[3] in (1, 3):
                return self._normalised([of_channels(image.transpose(2, 0, 1), self.input_size[0]) for image in pixels])
        shape = f"{array.dtype} of shape {array.shape}" if array.dtype != object else "values of mixed kinds"
        raise ValueError(f"{shape}: {WANTED.format(', '.join(map(str, self.input_size)))}")

    def _decoded(self, encoded: bytes | str) -> Pixels:
        """Return one encoded image as pixels of shape (channels, h, w), upright."""
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            content = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else bytes(encoded)
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened)
        except binascii.Error as error:
            raise ValueError(f"a text that is not base64 ({error})") from None
        except UnidentifiedImageError:  # its text names an address in memory
            raise ValueError(f"not a readable image (none of {', '.join(FORMATS)})") from None
        except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
            raise ValueError(f"not a readable image ({error})") from None
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"image mode {image.mode!r} has more than 8 bits a channel")
        if self.input_size[0] == 1:
            return np.asarray(image.convert("L"))[np.newaxis]
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)

    def _normalised(self, images: Sequence[Pixels]) -> Floats:
        """Return pixels of any size at the input size, scaled, less the mean, over the standard deviation."""
        crop = self.about["resize"] == "crop"
        stacked = np.stack([to_size(image, self.input_size[1:], crop=crop) for image in images])
        columns = [np.array(self.about[name]).reshape(-1, 1, 1) for name in ("mean", "std")]
        scale, offset = (1 / (255 * columns[1])).astype(np.float32), (-columns[0] / columns[1]).astype(np.float32)
        normalised: Floats = stacked.astype(np.float32) * scale + offset
        return normalised


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Return probabilities along the last axis."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def of_channels(pixels: Pixels, channels: int) -> Pixels:
    """Return pixels of shape (1 or 3, h, w) with as many channels, gray as Pillow makes it."""
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=0)
    red, green, blue = pixels.astype(np.uint32)
    gray: Pixels = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)
    return gray[np.newaxis]


def to_size(pixels: Pixels, size: Sequence[int], *, crop: bool) -> Pixels:
    """Return pixels of shape (channels, h, w) at a size: squeezed to it, or its centre at 256/224 of it."""
    height, width = size
    if not crop:
        return resized(pixels, (height, width))
    native_height, native_width = pixels.shape[1:]
    scale = max(round(height * 256 / 224) / native_height, round(width * 256 / 224) / native_width)
    whole = resized(pixels, (int(native_height * scale + 1e-6), int(native_width * scale + 1e-6)))
    top, left = (round((have - want) / 2) for have, want in zip(whole.shape[1:], size, strict=True))
    return whole[:, top : top + height, left : left + width]


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return pixels of shape (channels, h, w) at a size, bilinear and antialiased: bit for bit as torch does."""
    for axis, wanted in ((2, size[1]), (1, size[0])):
        if pixels.shape[axis] != wanted:
            weights, bits = _weights(pixels.shape[axis], wanted)
            sums = np.moveaxis(pixels, axis, 2) @ weights.T  # whole numbers below 2**53: exact
            rounded = np.floor(sums / (1 << bits) + 0.5).clip(0, 255).astype(np.uint8)
            pixels = np.moveaxis(rounded, 2, axis)
    return pixels


def _weights(native: int, wanted: int) -> tuple[NDArray[np.float64], int]:
    """Return the weights of an axis' pixels in each pixel wanted, as whole numbers, and the bits they are scaled by.

    Source: torch, UpSampleKernel.cpp: triangles, rounded to 16-bit numbers with as many bits as fit.
    """
    scale = native / wanted
    support = max(scale, 1.0)
    centre = scale * (np.arange(wanted)[:, np.newaxis] + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), native)
    at = np.arange(native)
    weights = np.clip(1 - np.abs((at - centre + 0.5) / support), 0, None) * ((at >= first) & (at < last))
    weights /= weights.sum(axis=1, keepdims=True)
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return np.floor(weights * (1 << bits) + 0.5), bits


def _onnxruntime(folder: Path, about: dict[str, Any]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = about["num_threads"]
    session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def _openvino(folder: Path, about: dict[str, Any]) -> Run:
    import openvino

    hint = "bf16" if about["precision"] == "bf16" else "f32"
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": about["num_threads"], "NUM_STREAMS": 1}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(folder / GRAPH), "CPU", settings | {"INFERENCE_PRECISION_HINT": hint})
    return lambda images: np.array(compiled(images)[0], dtype=np.float32)


def _torch(folder: Path, about: dict[str, Any]) -> Run:
    import torch

    last = about["options"].get("channels_last", False)
    layout = torch.channels_last if last else torch.contiguous_format
    module = torch.export.load(folder / PROGRAM).module().to(memory_format=layout)

    def run(images: Floats) -> Floats:
        with torch.inference_mode():
            found: Floats = module(torch.from_numpy(images).to(memory_format=layout)).numpy()
            return found

    return run


RUNTIMES: dict[str, Callable[[Path, dict[str, Any]], Run]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "torch": _torch,
}


def runtime_for(folder: Path, runtime: str) -> str:
    """Return a runtime, or another one where the folder was pulled without what it runs."""
    file = PROGRAM if runtime == "torch" else GRAPH
    if (folder / file).is_file():
        return runtime
    return "torch" if (folder / PROGRAM).is_file() else "onnxruntime"


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ImageClassifier:
    """Load the network; MLflow calls this by its name."""
    return ImageClassifier(path, (model_config or {}).get("runtime") or "")
