"""`mlflow models serve` as a process of its own: images of every kind are answered, what is no image gets a 400."""

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from registry_cases import make_network, make_result, open_registry, register

from orchestrator.data.pixels import encode_png
from orchestrator.registry.image_classifier import ImageClassifier

Post = Callable[[bytes, str], tuple[int, str]]
START_SECONDS = 400


@contextlib.contextmanager
def served(uri: str, tracking_uri: str, log: Path) -> Iterator[Post]:
    """Serve a model on a free port; give what posts a body of a type and returns status and answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "-p", str(port), "--env-manager", "local"]
    quiet = {"MLFLOW_TRACKING_URI": tracking_uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    quiet["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it looks for `python` there
    with log.open("wb") as told:
        server = subprocess.Popen(
            command, env=os.environ | quiet, stdout=told, stderr=told, start_new_session=True, cwd=log.parent
        )

    def post(body: bytes, kind: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    try:
        end = time.monotonic() + START_SECONDS
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=30):
                break
            time.sleep(0.2)
        yield post
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # the command starts the server as a process of its own
        server.wait(timeout=60)


@pytest.mark.timeout(900)
def test_a_served_model_answers_images_and_refuses_what_is_none(tmp_path: Path) -> None:
    registry = open_registry(tmp_path)
    registry.open_sweep("night", {})
    register(registry, make_result("t"), tmp_path / "files")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 8, 8), dtype=np.uint8)
    encoded = [base64.b64encode(encode_png(image)).decode() for image in pixels]
    prepared = torch.from_numpy(pixels)[:, None].float().div(255).sub(0.3).div(0.4)
    labels = [f"class {label}" for label in make_network()(prepared).argmax(1)]
    photo = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(photo, format="JPEG")
    (of_photo,) = ImageClassifier(tmp_path / "files").predict([photo.getvalue()])
    bodies = (
        {"inputs": encoded},
        {"instances": encoded},
        {"inputs": {"image": encoded}},
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in encoded]}},
        {"dataframe_records": [{"image": text} for text in encoded]},
        {"inputs": pixels.tolist()},
        {"inputs": prepared.tolist()},
    )
    wrong = ({"inputs": ["AAAA"]}, {"inputs": [[1, 2], [3]]}, {"inputs": [300]}, {"images": encoded}, [], {})
    with served("models:/night-ort-cpu-1t@best", registry.tracking_uri, tmp_path / "server.log") as post:
        body = {"inputs": [base64.b64encode(photo.getvalue()).decode()]}
        status, answer = post(json.dumps(body).encode(), "application/json")
        assert (status, json.loads(answer)["predictions"]) == (200, [of_photo])
        for body in bodies:
            status, answer = post(json.dumps(body).encode(), "application/json")
            assert status == 200, answer
            assert [found["label"] for found in json.loads(answer)["predictions"]] == labels
        for body in wrong:
            assert post(json.dumps(body).encode(), "application/json")[0] == 400, body
        assert post(b"{", "application/json")[0] == 400
        assert post(b"x", "image/png")[0] == 415
