"""What a model file answers on a target: the very program that is timed, run on given images.

Why here: an accuracy belongs to a file on a runtime, as a latency does. It must not know labels, nor where images
come from.
"""

from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import torch
from numpy.typing import NDArray

from latency.errors import NotRunnable
from latency.graphs.batch import full_batches
from latency.graphs.model import file_forms
from latency.measuring.job import lacking
from latency.measuring.timing import HostClock
from latency.runtimes.base import Host, load_runtime
from latency.target import Target
from supernet.errors import RunError


def answers(file: FilePath | str, target: Target, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the outputs of a model file for images, in this process.

    Args:
        file: `.onnx` or `.pt2`.
        target: On what, in batches of its size. A program outside gives times only: there answers the runtime that
            serves its files where they are delivered.
        images: Shape (M, C, H, W), normalised as in training.

    Returns:
        Shape (M, num_classes), fp32.

    Raises:
        InputError: If the file is neither, or the target cannot run it.
        NotRunnable: If this machine cannot run the target.
        RunError: If the images do not fit the file.
    """
    if target.traits.external:
        target = replace(target, runtime=target.traits.served_by, device="cpu", options={})
    reason = lacking(target)
    if reason:
        raise NotRunnable(f"target {target.name}: {reason}")
    forms = file_forms(FilePath(file), target.batch)
    if images.shape[1:] != forms.example.shape[1:]:
        raise RunError(f"{file}: takes images of {forms.example.shape[1:]}, got {images.shape[1:]}")
    num_threads = torch.get_num_threads()
    torch.set_num_threads(target.threads)
    try:
        output = load_runtime(target.runtime).prepare(forms, target, Host(HostClock())).output
        assert output is not None, target.runtime
        found = [output(part) for part in full_batches(images, target.batch)]
        return np.concatenate(found)[: len(images)]
    finally:
        torch.set_num_threads(num_threads)
