"""Longer steps for sparse layers, so that a neuron with few synapses learns as fast as one with many.

An adaptive optimizer moves every weight by about the learning rate, so what a neuron computes moves less where fewer
of its synapses are left. Where the density is d, what independent movements of all weights add up to falls with the
square root of d, and what movements in one direction add up to falls with d (Dey et al. 2024, "Sparse maximal update
parameterization: A holistic approach to sparse training dynamics"). ``W <- W + d^-exponent * (W_stepped - W)`` makes
up for the first with an exponent of 1/2, for the second with 1.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from sparbor.distributed.shards import held
from sparbor.nn.neuron import PAINeuronModule


class SparseLR:
    """Lengthens what an optimizer's step does to sparse layers; an exponent of 0 leaves it as it is."""

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent
        self._before: dict[PAINeuronModule, Tensor] = {}

    def before_step(self, layers: Iterable[PAINeuronModule]) -> None:
        """Remember the weights of sparse layers; of a step within a step only the inner one counts."""
        if self.exponent:  # anew each time: what a step that failed has left must not come back
            self._before = {layer: held(layer.parameter.detach()).clone() for layer in layers if layer.mode == "d"}

    def after_step(self) -> None:
        """Move the weights on in the direction that the step took. Dropped ones are for the mask to set to zero."""
        before, self._before = self._before, {}
        for layer, start in before.items():
            density = layer.active_weights() / layer.mask.numel()
            if 0 < density < 1:
                weight = held(layer.parameter.detach())
                torch.lerp(start, weight, density**-self.exponent, out=weight)
