"""What became of a model whose values were rounded to bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class QuantizationReport:
    """How far 8 bits move a model's answers to its calibration inputs, and which layers have them.

    Attributes:
        answers: by output, the relative error of the answers: the norm of how far they moved, by their own norm.
        in_8_bits: the layers that compute with 8 bits.
        kept: the layers that have 16 bits, and why.
        constant: layers whose outputs, or what they read, were zero in all calibration inputs, so that there is no
            range to round them by: they are rounded in steps of 1.
    """

    answers: Mapping[str, float]
    in_8_bits: tuple[str, ...]
    kept: Mapping[str, str] = field(default_factory=dict)
    constant: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """The largest relative error of an output."""
        return max(self.answers.values(), default=0.0)

    def __str__(self) -> str:
        """One line for people."""
        moved = ", ".join(f"{error:.2%} ({name})" for name, error in self.answers.items())
        words = f"8 bits move the answers to the calibration inputs by {moved}"
        words += f"; {len(self.in_8_bits)} layers have 8 bits, {len(self.kept)} have 16"
        if self.constant:
            words += f"; zero in all calibration inputs: {', '.join(self.constant)}"
        return words
