"""How dense layers are together, and whether that is clearly more than what they aim at."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sparbor.nn.neuron import PAINeuronModule

MARGIN = 1.1  # what is no denser than that is not worth a word


@dataclass(frozen=True)
class Standing:
    """Densities of several layers together: that of their masks, and the one that they aim at."""

    density: float
    aim: float
    too_dense: bool

    def __str__(self) -> str:
        return f"{100 * self.density:.3g} % of their weights and aim at {100 * self.aim:.3g} %"


def standing(layers: Iterable[PAINeuronModule]) -> Standing:
    """How these layers, one at least, stand to their aims."""
    layers = list(layers)
    weights = sum(layer.mask.numel() for layer in layers)
    active = sum(layer.active_weights() for layer in layers)
    aim = sum(_aim(layer) * layer.mask.numel() for layer in layers)
    return Standing(active / weights, aim / weights, active > MARGIN * sum(map(_most, layers)))


def _aim(layer: PAINeuronModule) -> float:
    """The density that a recipe has fixed, or that a dense layer is to have; a mask of another origin is as it is."""
    return 1 - layer.sparsity if layer.planned or layer.mode == "n" else 1 - layer.get_sparsity()


def _most(layer: PAINeuronModule) -> float:
    """As many active weights as its aim may come to: a unit more, and all slots in neuron blocks that are full."""
    outputs, fan_in = layer.outputs_first[0], math.prod(layer.outputs_first[1:])
    neurons = outputs // layer.groups
    block = min(layer.pattern.neuron_block, neurons)
    slots = layer.groups * math.ceil(neurons / block) * fan_in
    return min((_aim(layer) * slots + layer.pattern.synapses) * block, outputs * fan_in)
