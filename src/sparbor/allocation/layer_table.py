"""Rows about layers as lines of text, as ``print`` of a perforator and of a report shows them."""

from collections.abc import Sequence


def lines(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """A line for each row, its cells in columns; ``sides`` has ``<`` (left) or ``>`` (right) for each column.

    >>> lines([("layer", "weights"), ("fc", "9")], "<>")
    ['layer  weights', 'fc           9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]


def percent(share: float) -> str:
    """A share in three digits.

    >>> percent(0.1)
    '10 %'
    """
    return f"{100 * share:.3g} %"
