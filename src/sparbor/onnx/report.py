"""What became of a model's layers, a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparbor.printable import printable


@dataclass(frozen=True)
class Row:
    """A node that multiplies with weights.

    ``bytes_after`` is ``None`` if it was left as it is. ``fewer`` says how many times fewer weights are multiplied
    with, ``error`` how far the stored weights are from the real ones, by the Euclidean norm.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    sparsity: float
    bytes_before: int = 0
    bytes_after: int | None = None
    fewer: float = 1.0
    error: float = 0.0
    why: str = ""

    @property
    def taken(self) -> bool:
        """Whether it is packed."""
        return self.bytes_after is not None


def table(rows: Sequence[Row], difference: float | str) -> str:
    """For people."""
    heads = ("layer", "node", "weights", "zeros", "bytes", "packed", "multiplied", "off by", "")
    lines = [heads, *(tuple(map(printable, _cells(row))) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    taken = [row for row in rows if row.taken]
    before, after = sum(row.bytes_before for row in taken), sum(row.bytes_after or 0 for row in taken)
    text.append(f"{len(taken)} of {len(rows)} layers packed: {before:,} bytes of weights are {after:,}")
    if isinstance(difference, float):
        text.append(f"answers differ from the original's by {difference:.2%} of the largest one at most")
    else:
        text.append(f"answers were not compared with the original's: {difference}")
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    shape = " x ".join(map(str, row.shape))
    zeros = f"{row.sparsity:.1%}" if row.shape else ""
    if row.bytes_after is None:
        return row.name, row.kind, shape, zeros, "", "left", "", "", row.why
    sizes = f"{row.bytes_before:,}", f"{row.bytes_after:,}"
    return row.name, row.kind, shape, zeros, *sizes, f"{row.fewer:.1f} x fewer", f"{row.error:.2%}", row.why
