"""Longer steps for sparse layers, so that a neuron with few synapses learns as fast as one with many.

An adaptive optimizer moves every weight by about the learning rate, so what a neuron computes moves less where fewer
of its synapses are left. Where the density is d, what independent movements of all weights add up to falls with the
square root of d, and what movements in one direction add up to falls with d (Dey et al. 2024, "Sparse maximal update
parameterization: A holistic approach to sparse training dynamics"). ``W <- W + d^-e * (W_stepped - W)`` makes up for
the first with an exponent e of 1/2, for the second with 1.

Which is better depends on the learning rate. At its largest, steps in all directions keep a network from settling, and
longer ones do so more; the more it has fallen, the more steps agree, and the less harm is in their length. So the
exponent may go from one number to another while the rate falls: ``e = first + (last - first) * (1 - rate / peak)``,
where the peak is the largest rate that the layer's parameter group has had in the run.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from sparbor.distributed.shards import held
from sparbor.nn.neuron import PAINeuronModule
from sparbor.train.learning_rates import LearningRates


class SparseLR:
    """Lengthens what an optimizer's step does to sparse layers; exponents of 0 leave it as it is.

    ``exponent`` is one for all rates, or a pair: at the peak, and at a rate of zero.
    """

    def __init__(self, exponent: float | tuple[float, float], rates: LearningRates) -> None:
        self.first, self.last = exponent if isinstance(exponent, tuple) else (exponent, exponent)
        self._rates = rates
        self._before: dict[PAINeuronModule, Tensor] = {}

    def before_step(self, layers: Iterable[PAINeuronModule]) -> None:
        """Remember the weights of sparse layers; of a step within a step only the inner one counts."""
        if not self.first and not self.last:
            return
        # Anew each time: what a step that failed has left must not come back.
        self._before = {layer: held(layer.parameter.detach()).clone() for layer in layers if layer.mode == "d"}

    def after_step(self) -> None:
        """Move the weights on in the direction that the step took. Dropped ones are for the mask to set to zero."""
        before, self._before = self._before, {}
        for layer, start in before.items():
            density = layer.active_weights() / layer.mask.numel()
            if 0 < density < 1:
                weight = held(layer.parameter.detach())
                torch.lerp(start, weight, density ** -self._exponent(layer), out=weight)

    def _exponent(self, layer: PAINeuronModule) -> float:
        if self.first == self.last:
            return self.first
        return self.last + (self.first - self.last) * self._rates.share(layer.parameter)
