"""What a layer's inputs and wanted outputs are on average: all that least squares needs to know of any number of rows.

With the rows ``x`` that the layer is given in the model as it is pruned, and ``y``, without its bias, what it answered
in the dense model, the squared error of a matrix ``W`` is ``sum |y - x W^T|^2 = energy - 2 <W, cross> + <W gram, W>``,
where ``gram = sum x^T x``, ``cross = sum y^T x`` and ``energy = sum |y|^2``: sums that grow batch by batch, and take as
much memory for a million rows as for one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDING = 1e-6  # what sums of squares in float32 may be off by: of answers that are all alike this is left


@dataclass
class Inputs:
    """``gram`` ``(groups, fan_in, fan_in)`` of rows, half of the Hessian of the squared error, their ``sum``, ``rows``.

    Layers that read the very same rows have it together. It is about an ``origin``: about zero, or, if ``centered``,
    about a row near the mean until all have come, and then about the mean. Squares of numbers that differ little from
    a large one would lose in float32 what they differ by.
    """

    gram: Tensor
    sum: Tensor
    centered: bool
    rows: int = 0
    origin: Tensor | None = None

    @classmethod
    def of(cls, groups: int, fan_in: int, device: torch.device, *, centered: bool) -> "Inputs":
        """None yet."""
        return cls(
            torch.zeros(groups, fan_in, fan_in, device=device),
            torch.zeros(groups, fan_in, dtype=torch.float64, device=device),
            centered,
        )

    def about_origin(self, x: Tensor) -> Tensor:
        """Rows less the origin: what is to be added here, and to targets."""
        if not self.centered:
            return x
        if self.origin is None and x.shape[1]:
            self.origin = x.mean(1).double()  # as rounded as it is, it is the same for all rows
        return x if self.origin is None else x - self.origin[:, None].float()

    def add(self, x: Tensor) -> None:
        """Rows ``(groups, n, fan_in)`` more, less the origin."""
        self.gram.baddbmm_(x.mT, x)
        self.sum += x.sum(1, dtype=torch.float64)
        self.rows += x.shape[1]

    def center(self, targets: Iterable["Targets"]) -> None:
        """All rows have come: let the mean be the origin. In place, since this is the most of what a layer takes."""
        mean = self.sum / max(1, self.rows)
        self.gram.baddbmm_(self.sum[..., None].float(), mean[:, None].float(), alpha=-1)
        for each in targets:
            about_zero = each.energy
            each.cross.baddbmm_(each.sum[..., None].float(), mean[:, None].float(), alpha=-1)
            each.energy -= float(each.sum.square().sum() / max(1, self.rows))
            if each.energy < ROUNDING * about_zero:
                each.energy = 0.0
        self.origin = mean if self.origin is None else self.origin + mean
        self.sum = self.rows * self.origin


@dataclass
class Targets:
    """``cross`` ``(groups, neurons, fan_in)`` of rows and what a layer should answer, its ``sum`` and ``energy``."""

    cross: Tensor
    sum: Tensor
    energy: float = 0.0

    @classmethod
    def of(cls, groups: int, neurons: int, fan_in: int, device: torch.device) -> "Targets":
        """None yet."""
        return cls(
            torch.zeros(groups, neurons, fan_in, device=device),
            torch.zeros(groups, neurons, dtype=torch.float64, device=device),
        )

    def add(self, x: Tensor, y: Tensor) -> None:
        """Rows ``(groups, n, fan_in)`` more, less the origin of inputs, and their answers ``(groups, n, neurons)``."""
        self.cross.baddbmm_(y.mT, x)
        self.sum += y.sum(1, dtype=torch.float64)
        self.energy += float(y.square().sum(-1).sum(dtype=torch.float64))


@dataclass(frozen=True)
class Problem:
    """Least squares for one layer: its ``weight`` ``(groups, neurons, fan_in)``, and moments that judge another.

    ``means`` are those of rows and answers where a bias may follow them: ``gram`` and ``cross`` are then about these
    means, and the bias that is best for a weight follows from it.
    """

    weight: Tensor
    gram: Tensor
    cross: Tensor
    energy: float
    means: tuple[Tensor, Tensor] | None = None

    def error(self, weight: Tensor) -> float:
        """``|y - x W^T| / |y|`` over all rows: 0 for a perfect layer, 1 for one that answers nothing."""
        if self.energy <= 0:
            return 0.0
        left = self.energy - 2 * float(_dot(weight, self.cross)) + float(_dot(weight @ self.gram, weight))
        return math.sqrt(max(left, 0.0) / self.energy)

    def bias(self, weight: Tensor) -> Tensor:
        """What to add to the bias with this weight: the mean answer less what the mean row makes of the weight."""
        assert self.means is not None
        x, y = self.means
        return y - (weight.double() @ x[..., None]).squeeze(-1)


def problem(weight: Tensor, inputs: Inputs, targets: Targets | None) -> Problem:
    """The problem of a layer whose ``weight`` is ``(groups, neurons, fan_in)``.

    Without targets the layer is to do what its weight does with the same rows. Where inputs are centered, targets
    are about their mean, too.
    """
    if targets is None:
        cross = weight @ inputs.gram
        sums = (weight.double() @ inputs.sum[..., None]).squeeze(-1)
        targets = Targets(cross, sums, float(_dot(cross, weight)))
    means = None if inputs.origin is None else (inputs.origin, targets.sum / max(1, inputs.rows))
    return Problem(weight, inputs.gram, targets.cross, targets.energy, means)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dtype=torch.float64)
