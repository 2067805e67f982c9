"""Neurons in an order in which those of a block agree, chosen at the switch to dendrite mode.

In training nothing moves: a layer only remembers in which order its pattern sees its neurons and its inputs, so
optimizers, averaged copies and whoever holds a parameter notice nothing. A deployed copy has its weights in that order,
see :mod:`sparbor.lowering.permuted_copy`.
"""

from collections.abc import Sequence

from sparbor.lowering.chains import Chain
from sparbor.lowering.permuted_copy import input_order
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import Slots
from sparbor.topology.neuron_blocks import best_order


def permute_neurons(found: Sequence[Chain]) -> None:
    """Choose the order of neurons in each chain's layer by the magnitude of its weights, and let its readers follow.

    The chains are in the order of the model's graph: a layer's inputs are in order before its neurons are.
    """
    for chain in found:
        layer = chain.layer
        if isinstance(layer.pattern, Slots) and layer.sparsity > 0:
            order = best_order(layer.weight_matrix().abs(), layer.pattern, 1 - layer.sparsity)
            layer.permute_neurons(neurons=layer.neuron_order[order])
            for reader in chain.readers:
                if isinstance(reader, PAINeuronModule):
                    reader.permute_neurons(inputs=input_order(reader, layer.neuron_order))
