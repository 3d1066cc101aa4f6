"""What a network will cost on a target, before it is built: whole-network prediction, and tables of every kind.

The differentiable expectation that the search uses is `CostTable.expected`, over what `cost_table` returns.
"""

from pathlib import Path as FilePath

from latency.tables.file import load_table
from latency.tables.published import published_table
from latency.tables.table import LatencyTable
from latency.target import COUNTED, PUBLISHED, Target
from supernet.cost import CostTable, macs_table, params_table
from supernet.errors import InputError
from supernet.space import Architecture, Space


def predict(table: LatencyTable, architecture: Architecture) -> tuple[float, float]:
    """Predict the latency of a whole network.

    Args:
        table: A table of the architecture's space.
        architecture: What to predict.

    Returns:
        (milliseconds, half-width of the error bar): twice the root mean square error on calibration networks
        that were left out of the fit in turn (published tables: twice the published error).

    Raises:
        MissingLatency: If the architecture needs an entry that the table lacks.
    """
    num_params = params_table(table.space).total(table.space.path(architecture))
    ms = table.calibration.predict(table.sum_ms(architecture), num_params)
    return ms, 2.0 * table.calibration.rms * ms


def cost_table(space: Space, target: Target, folder: FilePath | str) -> CostTable:
    """Return what every candidate costs on a target of any kind: measured, published or counted.

    Raises:
        InputError: If a measured table is not there or belongs to something else, with the command that builds it.
    """
    if target.runtime == "params":
        return params_table(space)
    if target.runtime == "macs":
        return macs_table(space)
    return latency_table(space, target, folder).cost_table()


def latency_table(space: Space, target: Target, folder: FilePath | str) -> LatencyTable:
    """Return the table of a measured or published target.

    Raises:
        InputError: If it is not there, belongs to something else, or the target only counts.
    """
    if target.runtime in COUNTED:
        raise InputError(f"target {target.name}: it counts, and has no latencies")
    if target.runtime == PUBLISHED:
        return published_table(space, target)
    return load_table(folder, space, target)
