"""What became of each layer, as data and as ``print(report)`` shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparbor.allocation.layer_table import lines, percent
from sparbor.allocation.survey import LayerEligibility
from sparbor.nn.named_layers import plain_name


@dataclass
class Outcome:
    """What became of a layer that is sparse now: see :class:`LayerRow`."""

    method: str
    error: float | None = None
    why: str = ""
    density: float = 1.0


@dataclass(frozen=True)
class LayerRow:
    """One layer with parameters: what it is, and what became of it.

    Args:
        name: where it stands in the model, with the weight's name if the layer has several.
        kind: its class.
        parameters: how many it has that no row before has counted.
        density: the share of its weights that are left; ``None`` if it is not sparse.
        method: how it was made sparse; empty if it was not.
        error: how far its answers are from the dense model's, ``|y - y_dense| / |y_dense|`` over all batches, where it
            is given what the sparse layers before it make. Answers count without the bias, and of a layer that has one
            about their mean, which the bias makes right. ``None`` where that is not known.
        why: why it is not sparse, or was not made so by the method that was asked for; whose weight it has.
    """

    name: str
    kind: str
    parameters: int
    density: float | None
    method: str
    error: float | None
    why: str


@dataclass(frozen=True)
class SparsifyReport:
    """What :func:`sparbor.sparsify` did to a model: a row for each layer, in the order of the model.

    Args:
        rows: see :class:`LayerRow`.
        density: active weights over all weights of the layers that are sparse now.
        seconds: how long it took.
    """

    rows: tuple[LayerRow, ...]
    density: float
    seconds: float

    def __str__(self) -> str:
        cells: list[tuple[str, ...]] = [("layer", "kind", "parameters", "density", "method", "error", "why")]
        cells += [_cells(row) for row in self.rows]
        return "\n".join([*lines(cells, "<<>><><"), self._sum()])

    def _sum(self) -> str:
        sparse = sum(row.density is not None for row in self.rows)
        return (
            f"{sparse} of {len(self.rows)} layers are sparse, and keep {percent(self.density)} of their weights;"
            f" it took {self.seconds:.1f} s"
        )


def report(
    findings: Sequence[LayerEligibility], outcomes: Mapping[str, Outcome], weights: Mapping[str, int], seconds: float
) -> SparsifyReport:
    """The report of a model with these ``findings``: ``outcomes`` and ``weights`` of the sparse layers, by name."""
    by_name = {plain_name(name): outcome for name, outcome in outcomes.items()}
    rows = tuple(_row(finding, by_name) for finding in findings)
    active = sum(outcomes[name].density * count for name, count in weights.items())
    return SparsifyReport(rows, active / sum(weights.values()), seconds)


def _row(finding: LayerEligibility, outcomes: Mapping[str, Outcome]) -> LayerRow:
    what = finding.name, finding.kind, finding.weights
    if finding.reason is not None:
        return LayerRow(*what, None, "", None, finding.reason)
    outcome = outcomes[plain_name(finding.shares or finding.name)]
    why = f"it has the weight and the mask of {finding.shares}" if finding.shares else outcome.why
    return LayerRow(*what, outcome.density, outcome.method, outcome.error, why)


def _cells(row: LayerRow) -> tuple[str, ...]:
    density = "dense" if row.density is None else percent(row.density)
    error = "" if row.error is None else f"{row.error:.3f}"
    return row.name or "(the model)", row.kind, f"{row.parameters:,}", density, row.method, error, row.why
