"""Neurons in an order in which those of a block agree, chosen at the switch to dendrite mode.

Whose neurons may stand in another order the first batch of a run shows. In training nothing moves: a layer only
remembers in which order its pattern sees its neurons and its inputs, so optimizers, averaged copies and whoever holds a
parameter notice nothing. A deployed copy has its weights in that order, see :mod:`sparbor.lowering.permuted_copy`.
"""

import logging
import time
from collections.abc import Sequence

from torch import nn

from sparbor.allocation.survey import folded
from sparbor.distributed.ranks import is_distributed, values_of_all
from sparbor.lowering.chains import Chain, Chains, all_stay, chains, dendritic
from sparbor.lowering.permuted_copy import input_order
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import Slots
from sparbor.topology.neuron_blocks import best_order
from sparbor.train.first_batch import FirstBatch
from sparbor.train.plan import Plan

logger = logging.getLogger("sparbor")

NOT_YET = "whose neurons may be put in another order will be found with the first batch"


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


class NeuronOrders:
    """Finds, when it is needed first, which layers' neurons may be reordered, by tracing ``model`` for its first batch.

    ``batch`` is what the model was first called with.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: nn.Module = getattr(model, "_orig_mod", model)
        self.batch = FirstBatch(model)
        self._chains: Chains | None = None

    @property
    def found(self) -> Sequence[Chain]:
        """The layers whose neurons may be reordered, with what follows them; none before the first batch."""
        return self._known().found

    @property
    def reasons(self) -> dict[str, str]:
        """Why those of other layers may not, by the layer's name; empty before the first batch."""
        return self._known().reasons

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """What dendritic layers read and compute in the first batch, as far as that is known."""
        return self._known().shapes

    def lines(self) -> list[str]:
        """What there is to say."""
        known = self._known()
        stay = "the neurons of {layers} stay in order: {why}"
        return [NOT_YET] if self._chains is None else folded(stay, known.reasons)

    def settle(self, chains: Chains) -> None:
        """Take these for what is found."""
        self._chains = chains
        self.batch.stop()

    def stop_listening(self) -> None:
        """Take the hook away once it has done its work."""
        if self.batch.seen:
            self.batch.stop()

    def choose(self) -> None:
        """Put the neurons of all layers that are free in an order in which those of a block agree."""
        known = self._known()
        if self._chains is None:
            known = all_stay(self.model, "the model had not been called before an order was to be chosen")
        self.settle(self._agreed(known))
        permute_neurons(self.found)

    def _known(self) -> Chains:
        if self._chains is None and self.batch.seen:
            begun = time.perf_counter()
            self.settle(self._traced())
            seconds = time.perf_counter() - begun
            logger.info("traced the model for its first batch in %.1f s\n%s", seconds, "\n".join(self.lines()))
        return Chains() if self._chains is None else self._chains

    def _traced(self) -> Chains:
        try:
            args, kwargs = self.batch.arguments()
        except Exception as error:  # classes of collections that are not ours are made anew
            return all_stay(self.model, f"the model cannot be called again to trace it: {error}")
        return chains(self.model, args, kwargs)

    def _agreed(self, mine: Chains) -> Chains:
        """What all ranks have found: their batches may differ in more than their numbers."""
        if not is_distributed():
            return mine
        paths = {id(module): path for path, module in self.model.named_modules()}
        described = {
            paths[id(chain.layer)]: [paths[id(part)] for part in (*chain.along, *chain.readers)] for chain in mine.found
        }
        all_found = values_of_all(described)
        names = {id(layer): name for name, layer in dendritic(self.model).items()}
        agreed = Chains(reasons=dict(mine.reasons), shapes=mine.shapes)
        for chain in mine.found:
            path = paths[id(chain.layer)]
            if all(found.get(path) == described[path] for found in all_found):
                agreed.found.append(chain)
            else:
                agreed.reasons[names[id(chain.layer)]] = "another rank's batch does not show the same of it"
        return agreed


def orders_for(plan: Plan) -> NeuronOrders:
    """The orders of a dendritic model's neurons in a run; where none can be chosen that is settled."""
    orders = NeuronOrders(plan.model)
    if not isinstance(plan.recipe.pattern, Slots):
        orders.settle(Chains())  # it has no neuron blocks
    elif plan.sharded:
        orders.settle(all_stay(plan.model, "the model is sharded, and cannot be traced"))
    elif plan.timeline.reorders is None:
        too_early = "the recipe chooses all synapses before the first batch, which would show its readers"
        orders.settle(all_stay(plan.model, too_early))
    return orders
