"""What is said of a delivered file: its accuracy, and a loss of it."""

import numpy as np
import pytest
import torch

from orchestrator.plan.trials import ONNX_FILE
from orchestrator.trial.deliver import Delivered, top1
from orchestrator.trial.records import Evaluation, checksum


def test_top1_is_the_share_of_images_whose_highest_output_is_their_label() -> None:
    batches = [
        (torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])),
        (torch.tensor([[0.3, 0.2]]), torch.tensor([0])),
    ]
    assert top1(lambda images: images, batches) == pytest.approx(2 / 3)
    assert top1(lambda images: np.zeros_like(images), []) == 0.0


@pytest.mark.parametrize(
    ("found", "said"), [(0.93, ""), (0.95, ""), (0.9299, "model.onnx (int8) has a top-1 of 93.0%")]
)
def test_a_loss_of_accuracy_is_said(found: float, said: str) -> None:
    evaluation = Evaluation(checksum(b"f"), checksum(b"p"), found, 0.9, 0.94)
    text = Delivered(ONNX_FILE, 1, evaluation, None, "").loss(0.01, "int8")
    assert text.startswith(said)
    assert bool(text) == bool(said)
