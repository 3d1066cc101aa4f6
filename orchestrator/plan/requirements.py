"""What a network has to keep, as a user writes it: limits beside its budget, and how far its figures may disagree.

It must not know how either is checked (`limits`, `orchestrator.trial.gate`).
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from supernet.plain import STRICT, CountOrNone, NotNegative, Positive, Share

Budget = Annotated[Positive, Field(ge=1e-6, le=1e9)]
Counted = Annotated[Positive, Field(ge=1, le=1e15)]


class Strict(BaseModel):
    """A section whose unknown keys are errors."""

    model_config = ConfigDict(**STRICT, frozen=True)


class LimitsConfig(Strict):
    """What a network must not exceed besides its budget; every one that is given holds for all trials.

    Attributes:
        params: Parameters.
        macs: Multiply-accumulates of one image.
        file_mib: Size of the delivered file, in MiB.
        peak_memory_mib: Memory of inference beside the weights, of one image in fp32, in MiB; see `supernet.peak`.
    """

    params: Counted | None = None
    macs: Counted | None = None
    file_mib: Budget | None = None
    peak_memory_mib: Budget | None = None


class ParityConfig(Strict):
    """How far a file's outputs may be from the fp32 network's, as a share of the largest, by its precision.

    int8 is judged by its accuracy.

    Attributes:
        fp32: Of fp32 files.
        fp16: Of fp16 files.
        bf16: Of bf16 files.
    """

    fp32: Positive = 1e-3
    fp16: Positive = 1e-2
    bf16: Positive = 5e-2


Tolerance = Annotated[NotNegative, Field(le=100)]


class GateConfig(Strict):
    """How far what is known of a network may disagree before it is rejected, see `orchestrator.trial.gate`.

    Attributes:
        prediction_error: How much slower than predicted the delivered file may be, as a share of the prediction; twice
            as much faster.
        over_budget: How much more than its budget it may take, as a share of the budget.
        max_corrections: How often a network that takes more is replaced by one of a lower limit.
        parity: How far its outputs may be from the trained network's.
        max_top1_loss: How much less top-1 it may have than the trained network.
    """

    prediction_error: Tolerance = 0.10
    over_budget: Tolerance = 0.0
    max_corrections: Annotated[CountOrNone, Field(le=10)] = 2
    parity: ParityConfig = ParityConfig()
    max_top1_loss: Share = 0.01
