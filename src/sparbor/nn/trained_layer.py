"""One layer of a model that is trained sparse, and the dense gradient that growth needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sparbor.distributed.ranks import averaged
from sparbor.distributed.shards import is_sharded
from sparbor.nn.neuron import PAINeuronModule


@dataclass(eq=False)
class TrainedLayer:
    """One layer and, on the step before a growth, the dense gradient that its backward passes add up to.

    ``grown``: it is part of a dendrite, not of the model as it was.
    """

    name: str
    module: PAINeuronModule
    grown: bool = False
    dense_gradient: Tensor | None = None
    _accumulated: Tensor | None = field(default=None, init=False)

    def add_gradient(self, gradient: Tensor) -> None:
        """What a backward pass brings, before it is masked.

        What comes for a sharded weight is its ``grad`` itself, which is masked in place: at inactive weights, which
        alone grow, what came before has been masked. Any other gradient is kept as it is: while it is held here,
        autograd gives whoever might change it a copy, as it does where gradients are differentiated again.
        """
        values = gradient.detach() if gradient.requires_grad else gradient
        if self.dense_gradient is None or self._was_cleared(self.dense_gradient, gradient):
            self.dense_gradient = values.clone() if is_sharded(gradient) else values
        else:
            self.dense_gradient = self.dense_gradient + values
        self._accumulated = gradient if is_sharded(gradient) else None

    def forget_gradient(self) -> None:
        """What comes from now on is for a later growth."""
        self.dense_gradient = self._accumulated = None

    def _was_cleared(self, dense_gradient: Tensor, gradient: Tensor) -> bool:
        """Whether what came so far belonged to a step that was taken back, as GradScaler does."""
        if is_sharded(gradient):
            return gradient is not self._accumulated
        accumulated = self.module.parameter.grad
        # Zeros say so only if there was something else before: no active weight may have had a gradient.
        return accumulated is None or (not bool(accumulated.any()) and bool(dense_gradient[self.module.mask].any()))


def average_gradients(layers: Sequence[TrainedLayer]) -> None:
    """Every rank has seen its part of the batch: from now on each has the dense gradients of the whole batch.

    Those of sharded weights have been summed by who sharded them.
    """
    whole = [layer for layer in layers if not is_sharded(layer.module.parameter)]
    means = averaged([layer.dense_gradient for layer in whole], [layer.module.parameter for layer in whole])
    for layer, mean in zip(whole, means, strict=True):
        layer.dense_gradient = mean
