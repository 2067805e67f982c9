"""One layer of a model that is trained sparse, and the dense gradient that growth needs."""

from dataclasses import dataclass

from torch import Tensor

from sparbor.modules import PAINeuronModule


@dataclass(eq=False)
class TrainedLayer:
    """One layer and, on the step before a growth, the dense gradient that its backward passes add up to.

    ``grown``: it is part of a dendrite, not of the model as it was.
    """

    name: str
    module: PAINeuronModule
    grown: bool = False
    dense_gradient: Tensor | None = None

    def add_gradient(self, gradient: Tensor) -> None:
        """What a backward pass brings, before it is masked."""
        if self.dense_gradient is None or self._was_cleared(self.dense_gradient):
            self.dense_gradient = gradient.detach().clone()
        else:
            self.dense_gradient += gradient.detach()

    def _was_cleared(self, dense_gradient: Tensor) -> bool:
        """Whether what came so far belonged to a step that was taken back, as GradScaler does."""
        accumulated = self.module.parameter.grad
        # Zeros say so only if there was something else before: no active weight may have had a gradient.
        return accumulated is None or (not bool(accumulated.any()) and bool(dense_gradient[self.module.mask].any()))
