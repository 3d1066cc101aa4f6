"""The latency table: measured cost of every candidate of a space on a target, on disk as Parquet.

Raw rows stay raw; the calibration stands beside them and is folded in by `cost_table`. A table carries the
fingerprint of what it was measured on, and `load_table` refuses one of another.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as FilePath
from typing import Any

from latency.errors import ForeignTable, MissingLatency
from latency.tables.calibrate import Calibration, CalibrationNetwork
from latency.tables.fingerprint import differences, fingerprint, space_hash
from latency.target import Target, read_target
from supernet.cost import CostTable, params_table
from supernet.errors import InputError
from supernet.files import whole
from supernet.network import chosen_layers
from supernet.space import Architecture, Space, read_space

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Row:
    """Cost of one candidate at one layer, in milliseconds.

    Attributes:
        layer: Name of the layer in the space.
        op: Short name of the candidate.
        raw_ms: Cost in context: the chain with it less the chain before it, shared by the equal layers in the chain;
            never below 0.
        error_ms: Standard error of it.
        chain_ms: The chain with it.
        before_ms: The chain before it, 0 if it is the first layer.
        median_ms: Median of the chain with it.
        p10_ms: 10th percentile of the chain with it.
        num_samples: Timed calls of the chain with it.
        num_clean: Undisturbed ones.
    """

    layer: str
    op: str
    raw_ms: float
    error_ms: float = 0.0
    chain_ms: float = 0.0
    before_ms: float = 0.0
    median_ms: float = 0.0
    p10_ms: float = 0.0
    num_samples: int = 0
    num_clean: int = 0


@dataclass(frozen=True)
class LatencyTable:
    """All rows of a space on a target, with what is needed to judge them.

    Attributes:
        space: The space as it was measured.
        target: The target as it was measured.
        rows: One per layer and candidate; layers without a choice have one.
        calibration: From sums of rows to whole networks.
        fingerprint: What it was measured on.
        sentinels: What the reference kernels took, in milliseconds.
        info: How it was measured: seconds, rounds, share of undisturbed calls, time of day.
    """

    space: Space
    target: Target
    rows: tuple[Row, ...]
    calibration: Calibration
    fingerprint: Mapping[str, Any]
    sentinels: Mapping[str, float]
    info: Mapping[str, Any]

    def costs(self) -> tuple[tuple[float, ...], ...]:
        """Return raw milliseconds per layer and candidate, in the space's order.

        Raises:
            MissingLatency: If entries are missing, naming layers, candidates and remedy.
        """
        wanted = [(layer.name, op.short) for layer in self.space.layers for op in layer.candidates]
        known = self._require(wanted)
        return tuple(tuple(known[layer.name, op.short] for op in layer.candidates) for layer in self.space.layers)

    def cost_table(self) -> CostTable:
        """Return calibrated milliseconds in the form that objectives and derivation use.

        Raises:
            MissingLatency: If entries are missing.
        """
        calibration, params = self.calibration, params_table(self.space)
        scale, per_param = calibration.scale, calibration.params_ms / 1e6
        pairs = list(zip(self.space.layers, self.costs(), strict=True))
        searched = [costs for layer, costs in pairs if layer.searched]
        return CostTable(
            name=self.target.name,
            unit="ms",
            fixed=calibration.predict(sum(costs[0] for layer, costs in pairs if not layer.searched), params.fixed),
            candidates=tuple(
                tuple(scale * ms + per_param * num for ms, num in zip(costs, nums, strict=True))
                for costs, nums in zip(searched, params.candidates, strict=True)
            ),
        )

    def sum_ms(self, architecture: Architecture) -> float:
        """Return the plain sum of an architecture's rows, before calibration.

        Raises:
            MissingLatency: If it needs an entry that is missing; others may be.
        """
        wanted = [
            (layer.name, layer.candidates[index].short) for layer, index in chosen_layers(self.space, architecture)
        ]
        return sum(map(self._require(wanted).__getitem__, wanted))

    def _require(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
        known = {(row.layer, row.op): row.raw_ms for row in self.rows}
        lacking = [pair for pair in wanted if pair not in known]
        if lacking:
            shown = ", ".join(f"{op} at {layer}" for layer, op in lacking[:6]) + (", ..." if len(lacking) > 6 else "")
            total = f" ({len(lacking)} in all)" if len(lacking) > 1 else ""
            raise MissingLatency(
                f"latency table {self.space.name} on {self.target.name}: no entry for {shown}{total}; "
                f"{self.info.get('remedy', rebuild_command(self.space, self.target))}"
            )
        return known


def table_path(folder: FilePath | str, space: Space, target: Target) -> FilePath:
    """Return where the table of a space on a target is kept."""
    return FilePath(folder) / f"{space.name}@{target.name}.parquet"


def rebuild_command(space: Space, target: Target, folder: FilePath | str = "") -> str:
    """Return the command that builds a table anew."""
    where = f" --folder {folder}" if str(folder) else ""
    return f"onepath latency build --space {space.name} --target {target.name}{where}"


def write_table(table: LatencyTable, folder: FilePath | str) -> FilePath:
    """Write a table whole, or not at all."""
    import pyarrow
    import pyarrow.parquet

    metadata = {
        "schema_version": SCHEMA_VERSION,
        "unit": "ms",
        "space": table.space.to_dict(),
        "target": table.target.to_dict(),
        "calibration": asdict(table.calibration),
        "fingerprint": dict(table.fingerprint),
        "sentinels": dict(table.sentinels),
        "info": dict(table.info),
    }
    rows = pyarrow.Table.from_pylist([asdict(row) for row in table.rows])
    path = table_path(folder, table.space, table.target)
    with whole(path) as part:
        pyarrow.parquet.write_table(rows.replace_schema_metadata({"onepath_latency": json.dumps(metadata)}), part)
    return path


def read_table(path: FilePath | str) -> LatencyTable:
    """Read a table as it stands, wherever it was measured.

    Raises:
        InputError: If it does not exist, is no latency table, or has another schema version.
    """
    import pyarrow
    import pyarrow.parquet

    if not FilePath(path).is_file():
        raise InputError(f"{path}: no such latency table")
    try:
        stored = pyarrow.parquet.read_table(path)
        metadata = json.loads((stored.schema.metadata or {})[b"onepath_latency"])
    except (pyarrow.ArrowInvalid, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a latency table ({error!r})") from error
    if metadata["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {metadata['schema_version']}, this release reads {SCHEMA_VERSION}; build it anew"
        )
    calibration = metadata["calibration"]
    networks = tuple(CalibrationNetwork(**network) for network in calibration.pop("networks"))
    return LatencyTable(
        space=read_space(metadata["space"], f"{path}: space"),
        target=read_target(metadata["target"], f"{path}: target"),
        rows=tuple(Row(**row) for row in stored.to_pylist()),
        calibration=Calibration(**calibration, networks=networks),
        fingerprint=metadata["fingerprint"],
        sentinels=metadata["sentinels"],
        info=metadata["info"],
    )


def stored_table(folder: FilePath | str, space: Space, target: Target) -> LatencyTable:
    """Read the table kept of a space on a target, wherever it was measured.

    Raises:
        InputError: If there is none.
        ForeignTable: If it is of other layers than the space's.
    """
    path = table_path(folder, space, target)
    if not path.is_file():
        raise InputError(
            f"{path}: no latency table of {space.name} on {target.name} yet; {rebuild_command(space, target, folder)}"
        )
    table = read_table(path)
    if table.fingerprint["space"] != space_hash(space):
        raise ForeignTable(
            f"{path} was measured for other layers than {space.name} has; {rebuild_command(space, target, folder)}"
        )
    return table


def load_table(folder: FilePath | str, space: Space, target: Target) -> LatencyTable:
    """Load the table of a space on a target, for use on this machine.

    Raises:
        InputError: If there is none.
        ForeignTable: If it was measured on something else, naming the differences and the command that rebuilds it.
    """
    table = stored_table(folder, space, target)
    unlike = differences(table.fingerprint, fingerprint(space, target))
    if unlike:
        raise ForeignTable(
            f"{table_path(folder, space, target)} was measured on something else ({'; '.join(unlike)}); rebuild it: "
            f"{rebuild_command(space, target, folder)}"
        )
    return table
