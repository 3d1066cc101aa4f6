"""What each runtime can be told under `options:` of a target: typed, with defaults, checked when a target is read.

Why apart from the runtimes: a target is read without importing any. It must not know what is done with an option.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from supernet.errors import nearest
from supernet.plain import STRICT, Count, CountOrNone, Flag, Positive
from supernet.presets import preset_names

Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=100_000)]
Core = Annotated[CountOrNone, Field(lt=4096)]


class Options(BaseModel):
    """Settings of a runtime that has none."""

    model_config = ConfigDict(**STRICT, frozen=True)


class CpuOptions(Options):
    """Of a runtime that is timed on processor cores.

    Attributes:
        cores: Cores to stay on; None for those where others do least.
    """

    cores: Annotated[list[Core], Field(min_length=1, max_length=4096)] | None = None


class TorchOptions(CpuOptions):
    """Of eager PyTorch.

    Attributes:
        channels_last: Whether network and images are in that memory format.
    """

    channels_last: Flag = False


class CudaOptions(Options):
    """Of PyTorch on a GPU.

    Attributes:
        channels_last: Whether network and images are in that memory format.
        cudnn_benchmark: Whether cuDNN tries its algorithms first.
    """

    channels_last: Flag = False
    cudnn_benchmark: Flag = True


def _program(command: list[str]) -> list[str]:
    if not command or not command[0].strip():
        raise ValueError("the first of them is the program: give a list of texts, [PROGRAM, ARGUMENT, ...]")
    return command


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"{groups} groups; put the number in one, and write others as (?:...)")
    return pattern


class CommandOptions(Options):
    """Of a program outside, see `latency.runtimes.command`.

    Attributes:
        command: The program and its arguments, with {model}, {runs}, {threads} and {batch} replaced.
        pattern: Regular expression with one group, the number in each line that counts; None if all of standard
            output is numbers.
        unit: Of the numbers.
        runs: Inferences asked for per call of the program.
        timeout_seconds: After which it is ended.
    """

    command: Annotated[list[Argument], Field(max_length=1000), AfterValidator(_program)]
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_one_group)] | None = None
    unit: Literal["ms", "us", "s"] = "ms"
    runs: Annotated[Count, Field(le=1_000_000)] = 10
    timeout_seconds: Annotated[Positive, Field(le=86_400)] = 120.0


def _published(table: str) -> str:
    names = preset_names("targets/tables")
    if table not in names:
        raise ValueError(f"no published table{nearest(table, names)}")
    return table


class PublishedOptions(Options):
    """Of a table that was measured elsewhere.

    Attributes:
        table: Its name among the packaged ones.
    """

    table: Annotated[str, AfterValidator(_published)]
