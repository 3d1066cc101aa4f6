"""What travels with a model: images of any kind in, as the product itself reads them; classes out; the rest refused."""

import base64
import inspect
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from registry_cases import files, make_network

from latency.graphs.export import export_program
from orchestrator.data.augment import normalise, to_input_size
from orchestrator.data.decoding import PHOTO_BYTES, decode_fast
from orchestrator.data.pixels import encode_png
from orchestrator.registry import image_classifier
from orchestrator.registry.image_classifier import ImageClassifier, runtime_for

RANDOM = np.random.default_rng(0)
SIZES = [((50, 37), (32, 32)), ((150, 200), (64, 64)), ((20, 20), (32, 32)), ((33, 32), (32, 32)), ((1, 1), (5, 5))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    files(folder, make_network())
    return folder


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("native", "size"), SIZES)
def test_images_are_resized_bit_for_bit_as_in_training(native, size, channels, crop):
    pixels = RANDOM.integers(0, 256, (channels, *native), dtype=np.uint8)
    wanted = to_input_size(pixels, size, crop=crop)
    np.testing.assert_array_equal(image_classifier.to_size(pixels, size, crop=crop), wanted)


def jpeg(**more):
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(buffer, format="JPEG", **more)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_images_become_the_very_tensors_of_training(folder, tmp_path, channels):
    about = json.loads((folder / "preprocessing.json").read_text())
    mean, std = (0.3, 0.5, 0.7)[:channels], (0.2, 0.21, 0.3)[:channels]
    about |= {"input_size": [channels, 8, 8], "mean": mean, "std": std}
    (tmp_path / "preprocessing.json").write_text(json.dumps(about))
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    colour = RANDOM.integers(0, 256, (19, 23, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    photos = [jpeg(), jpeg(exif=turned), jpeg(xmp=b'<rdf:Description tiff:Orientation="6"/>')]
    assert all(len(photo) > PHOTO_BYTES for photo in photos)
    for encoded in (encode_png(colour), encode_png(colour[..., 0]), *photos):
        pixels = to_input_size(decode_fast(encoded, channels, "x"), (8, 8), crop=False)
        wanted = normalise(pixels[np.newaxis], mean, std).numpy()
        classifier = ImageClassifier(tmp_path)
        np.testing.assert_array_equal(classifier.prepare([encoded]), wanted)
        np.testing.assert_array_equal(classifier.prepare([base64.b64encode(encoded).decode()]), wanted)


def test_pixels_and_tensors_give_the_same_answer(folder):
    classifier = ImageClassifier(folder)
    pixels = RANDOM.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    encoded = [encode_png(image) for image in pixels]
    prepared = normalise(pixels[:, np.newaxis], (0.3,), (0.4,)).numpy()
    wanted = make_network()(torch.from_numpy(prepared)).detach().numpy()
    for images in (encoded, pixels, pixels[..., np.newaxis], pixels.tolist(), prepared, np.array(encoded, object)):
        np.testing.assert_allclose(classifier.logits(images), wanted, atol=1e-5)
    np.testing.assert_array_equal(classifier.prepare(pixels[0, ..., None][None]), classifier.prepare(pixels[:1]))
    first, *_ = classifier.predict(pixels)
    assert first["label"] == f"class {wanted[0].argmax()}"
    assert first["probability"] == max(first["probabilities"].values())
    assert list(first["probabilities"]) == [f"class {label}" for label in np.argsort(-wanted[0])]
    assert sum(first["probabilities"].values()) == pytest.approx(1)


def test_a_folder_with_one_file_is_run_by_what_runs_it(tmp_path):
    assert runtime_for(tmp_path, "openvino") == "onnxruntime", "neither is there: the error names the file"
    (tmp_path / "model.pt2").write_bytes(b"")
    assert [runtime_for(tmp_path, name) for name in ("onnxruntime", "torch")] == ["torch", "torch"]
    (tmp_path / "model.onnx").write_bytes(b"")
    assert [runtime_for(tmp_path, name) for name in ("openvino", "torch")] == ["openvino", "torch"]
    (tmp_path / "model.pt2").unlink()
    assert runtime_for(tmp_path, "torch") == "onnxruntime"


def test_the_torch_export_answers_where_it_is_asked_for(folder):
    prepared = RANDOM.standard_normal((3, 1, 8, 8)).astype(np.float32)
    wanted = make_network()(torch.from_numpy(prepared)).detach().numpy()
    np.testing.assert_allclose(ImageClassifier(folder, "torch").logits(prepared), wanted, atol=1e-6)
    with pytest.raises(ValueError, match="runtime 'tf': use one of onnxruntime, openvino, torch"):
        ImageClassifier(folder, "tf")


def test_the_torch_export_runs_in_the_layout_that_it_was_timed_in(folder, tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    (tmp_path / "model.pt2").write_bytes(export_program(network, (3, 8, 8)))
    prepared = RANDOM.standard_normal((3, 3, 8, 8)).astype(np.float32)
    about = json.loads((folder / "preprocessing.json").read_text()) | {"input_size": [3, 8, 8]}
    for last in (False, True):
        (tmp_path / "preprocessing.json").write_text(json.dumps(about | {"options": {"channels_last": last}}))
        classifier = ImageClassifier(tmp_path, "torch")
        weight = next(
            p for p in inspect.getclosurevars(classifier._run).nonlocals["module"].parameters() if p.dim() == 4
        )
        assert weight.is_contiguous(memory_format=torch.channels_last) == last
        wanted = network(torch.from_numpy(prepared)).detach().numpy()
        np.testing.assert_allclose(classifier.logits(prepared), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([b""], "not a readable image"),
        ([b"GIF89a"], "not a readable image"),
        (["no base64!"], "not base64"),
        (["aGVsbG8="], r"not a readable image \(none of PNG, "),
        ([encode_png(RANDOM.integers(0, 256, (40, 40), dtype=np.uint8))[:-200]], "not a readable image"),
        (np.zeros((1, 1, 9, 8), np.float32), r"shape \(1, 1, 9, 8\): give encoded images .* \(N, 1, 8, 8\)"),
        (np.full((1, 1, 8, 8), np.nan, np.float32), "no number"),
        (np.full((1, 8, 8), 256), "pixels from 256 to 256"),
        (np.zeros((1, 8, 8, 2), np.uint8), "give encoded images"),
        *(
            (np.zeros((9, 8, channels), np.uint8), r"pixels of .*: give one image .* as array\[None\]")
            for channels in (1, 3, 4)
        ),
        ([[1, 2], [3]], "give encoded images"),
        ([b"x", 3], "give encoded images"),
        ({}, "0 entries"),
        (None, "give encoded images"),
        ([], "give encoded images"),
    ],
)
def test_what_is_no_image_is_refused_with_what_is_wanted(folder, images, said):
    with pytest.raises(ValueError, match=said):
        ImageClassifier(folder).predict(images)


def test_it_runs_where_there_is_nothing_but_numpy_pillow_and_its_runtime(folder, tmp_path):
    """Everything else is refused, torch and MLflow among it."""
    (tmp_path / "image_classifier.py").write_bytes(Path(image_classifier.__file__).read_bytes())
    np.save(tmp_path / "images.npy", RANDOM.integers(0, 256, (3, 11, 9), dtype=np.uint8))
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {{"supernet", "latency", "orchestrator", "configs", "torch", "mlflow", "onnx"}}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, {str(tmp_path)!r})
import numpy
from image_classifier import ImageClassifier
print([answer["label"] for answer in ImageClassifier({str(folder)!r}).predict(numpy.load("images.npy"))])
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    wanted = ImageClassifier(folder).predict(np.load(tmp_path / "images.npy"))
    assert done.stdout.strip() == str([answer["label"] for answer in wanted])
