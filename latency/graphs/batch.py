"""How many images an ONNX graph takes at once: left open or fixed, and images in parts of that size.

Why here: a graph is timed, judged and delivered with its target's batch fixed, for some runtimes are faster so. It must
not know what an image is.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.errors import InputError


def inputs_of(graph: Any) -> list[Any]:
    """Return what a graph asks for, the images first: in files of old IR versions its weights are inputs as well."""
    weights = {weight.name for weight in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def fixed_batch(serialised: bytes, batch: int, place: str) -> bytes:
    """Return an ONNX model that takes so many images at once: itself if it does, else with its open batch fixed.

    Args:
        serialised: The model.
        batch: Images at once.
        place: For messages.

    Raises:
        InputError: If it takes another number of them.
    """
    import onnx

    model = onnx.load_from_string(serialised)
    given = inputs_of(model.graph)[0].type.tensor_type.shape.dim[0]
    if given.dim_value:
        require_batch(given.dim_value, batch, place)
        return serialised
    name = given.dim_param
    given.dim_value = batch
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if name and dim.dim_param == name:
                dim.dim_value = batch
    del model.graph.value_info[:]  # shapes inside, told by the open batch
    fixed: bytes = model.SerializeToString()
    return fixed


def require_batch(found: int, wanted: int, place: str) -> None:
    """Refuse a model that was made for another number of images than its target's.

    Raises:
        InputError: If it was.
    """
    if found != wanted:
        raise InputError(
            f"{place}: takes {found} images at once, and the target has batch {wanted}; export it with an open batch "
            f"or with {wanted}, or name a target of batch {found}"
        )


def full_batches(images: NDArray[np.float32], batch: int) -> Iterator[NDArray[np.float32]]:
    """Yield images in parts of this size, the last one filled up from the front."""
    for start in range(0, len(images), batch):
        yield np.take(images, range(start, start + batch), axis=0, mode="wrap")
