"""The latency table: measured cost of every candidate of a space on a target. Knows no files.

Raw rows stay raw; the calibration stands beside them and is folded in by `cost_table`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import Field

from latency.errors import MissingLatency
from latency.tables.calibrate import Calibration
from latency.target import Target, load_target, target_names
from supernet.cost import CostTable, params_table
from supernet.presets import load_space, preset_names
from supernet.space import Architecture, Space

Figure = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
"""A number that was measured: finite, and not negative."""


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
    raw_ms: Figure
    error_ms: Figure = 0.0
    chain_ms: Figure = 0.0
    before_ms: Figure = 0.0
    median_ms: Figure = 0.0
    p10_ms: Figure = 0.0
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
            error=calibration.rms,
        )

    def sum_ms(self, architecture: Architecture) -> float:
        """Return the plain sum of an architecture's rows, before calibration.

        Raises:
            MissingLatency: If it needs an entry that is missing; others may be.
        """
        layers, kept = self.space.layers, self.space.kept(self.space.path(architecture))
        wanted = [(layers[number].name, layers[number].candidates[index].short) for number, index in kept]
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


def rebuild_command(space: Space, target: Target, folder: FilePath | str = "") -> str:
    """Return the command that builds a table anew; of the user's own spaces and targets only they know the files."""
    own = {
        "space": space.name not in preset_names("spaces") or load_space(space.name).to_dict() != space.to_dict(),
        "target": target.name not in target_names() or load_target(target.name) != target,
    }
    options = [
        f"--{kind} {f'{kind}.yaml' if own[kind] else name}"
        for kind, name in (("space", space.name), ("target", target.name))
    ]
    where = [f"--folder {folder}"] if str(folder) else []
    files = ", ".join(f"{kind}.yaml: the file of your {kind}" for kind, is_own in own.items() if is_own)
    return " ".join(["onepath latency build", *options, *where, *([f"({files})"] if files else [])])
