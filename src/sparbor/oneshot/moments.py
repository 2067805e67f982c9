"""What a layer's inputs and wanted outputs are on average: all that least squares needs to know of any number of rows.

With the rows ``x`` that the layer is given in the model as it is pruned, and ``y``, without its bias, what it answered
in the dense model, the squared error of a matrix ``W`` is ``sum |y - x W^T|^2 = energy - 2 <W, cross> + <W gram, W>``,
where ``gram = sum x^T x``, ``cross = sum y^T x`` and ``energy = sum |y|^2``: sums that grow batch by batch, and take as
much memory for a million rows as for one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Inputs:
    """``gram`` ``(groups, fan_in, fan_in)`` of rows, half of the Hessian of the squared error, their ``sum``, ``rows``.

    Layers that read the very same rows have it together. Once they are centered it is about the ``mean``.
    """

    gram: Tensor
    sum: Tensor
    rows: int = 0
    mean: Tensor | None = None

    @classmethod
    def of(cls, groups: int, fan_in: int, device: torch.device) -> "Inputs":
        """None yet."""
        return cls(
            torch.zeros(groups, fan_in, fan_in, device=device),
            torch.zeros(groups, fan_in, dtype=torch.float64, device=device),
        )

    def add(self, x: Tensor) -> None:
        """Rows ``(groups, n, fan_in)`` more."""
        self.gram.baddbmm_(x.mT, x)
        self.sum += x.sum(1, dtype=torch.float64)
        self.rows += x.shape[1]

    def center(self) -> None:
        """From now on it is about the mean, in place: of a layer's memory this is the most."""
        self.mean = self.sum / max(1, self.rows)
        self.gram.baddbmm_(self.sum[..., None].float(), self.mean[:, None].float(), alpha=-1)


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
        """Rows ``(groups, n, fan_in)`` more, and their answers ``(groups, n, neurons)``."""
        self.cross.baddbmm_(y.mT, x)
        self.sum += y.sum(1, dtype=torch.float64)
        self.energy += float(y.square().sum(-1).sum(dtype=torch.float64))

    def center(self, inputs: Inputs) -> None:
        """From now on they are about the means; ``inputs`` are centered already."""
        assert inputs.mean is not None
        self.cross.baddbmm_(self.sum[..., None].float(), inputs.mean[:, None].float(), alpha=-1)
        self.energy -= float(self.sum.square().sum() / max(1, inputs.rows))


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

    Without targets the layer is to do what its weight does with the same rows. With inputs about their mean, targets
    are about theirs.
    """
    if targets is None:
        cross = weight @ inputs.gram
        sums = (weight.double() @ inputs.sum[..., None]).squeeze(-1)
        targets = Targets(cross, sums, float(_dot(cross, weight)))
    means = None if inputs.mean is None else (inputs.mean, targets.sum / max(1, inputs.rows))
    return Problem(weight, inputs.gram, targets.cross, targets.energy, means)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dtype=torch.float64)
