"""Longer steps for sparse layers, so that a neuron with few synapses learns as fast as one with many.

An adaptive optimizer moves every weight by about the learning rate, so what a neuron computes moves less where fewer
of its synapses are left. Where the density is d, what independent movements of all weights add up to falls with the
square root of d, and what movements in one direction add up to falls with d (Dey et al. 2024, "Sparse maximal update
parameterization: A holistic approach to sparse training dynamics"). ``W <- W + d^-e * (W_stepped - W)`` makes up for
the first with an exponent e of 1/2, for the second with 1.

Which is better depends on the learning rate. At its largest, steps in all directions keep a network from settling, and
longer ones do so more; the more it has fallen, the more steps agree, and the less harm is in their length. So the
exponent may go from one number to another while the rate falls to half of its peak, the largest rate that the layer's
parameter group has had in the run: ``e = first + (last - first) * min(1, 2 * (1 - rate / peak))``. A rate that has
fallen so far is one that goes on falling, and what counts then is the noise that is left at the end of the run.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from sparbor.distributed.shards import held
from sparbor.nn.neuron import PAINeuronModule
from sparbor.train.learning_rates import LearningRates

LAST_FROM = 0.5  # of the peak: from here on the exponent is the last one


class SparseLR:
    """Lengthens what an optimizer's step does to sparse layers; exponents of 0 leave it as it is.

    ``exponent`` is one for all rates, or a pair: at the peak, and from half of it on.
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
        fallen = (1 - self._rates.share(layer.parameter)) / (1 - LAST_FROM)
        return self.first + (self.last - self.first) * min(1.0, fallen)
