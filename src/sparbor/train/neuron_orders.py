"""Whose neurons may stand in another order, as the first batch of a run shows, and the order chosen for them once."""

import logging
import time
from collections.abc import Sequence

from torch import nn

from sparbor.allocation.survey import folded
from sparbor.distributed.ranks import is_distributed, values_of_all
from sparbor.lowering.chains import Chain, Chains, all_stay, chains, dendritic
from sparbor.recipe.pattern import Slots
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.schedule import Timeline
from sparbor.train.first_batch import FirstBatch
from sparbor.train.permute_neurons import permute_neurons

logger = logging.getLogger("sparbor")

NOT_YET = "whose neurons may be put in another order will be found with the first batch"


class NeuronOrders:
    """Finds, when it is needed first, which layers' neurons may be reordered, by tracing ``model`` for its first batch.

    Attributes:
        batch: what the model was first called with.

    """

    def __init__(self, model: nn.Module) -> None:
        self.model: nn.Module = getattr(model, "_orig_mod", model)
        self.batch = FirstBatch(model)
        self._chains: Chains | None = None

    @property
    def found(self) -> Sequence[Chain]:
        """The layers whose neurons may be reordered, with what follows them; none before the first batch."""
        known = self._known()
        return [] if known is None else known.found

    @property
    def reasons(self) -> dict[str, str]:
        """Why those of other layers may not, by the layer's name; empty before the first batch."""
        known = self._known()
        return {} if known is None else known.reasons

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """What dendritic layers read and compute in the first batch, as far as that is known."""
        known = self._known()
        return {} if known is None else known.shapes

    def lines(self) -> list[str]:
        """What there is to say."""
        known = self._known()
        return [NOT_YET] if known is None else folded("the neurons of {layers} stay in order: {why}", known.reasons)

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
        if known is None:
            known = all_stay(self.model, "the model had not been called before an order was to be chosen")
        self.settle(self._agreed(known))
        permute_neurons(self.found)

    def _known(self) -> Chains | None:
        if self._chains is None and self.batch.seen:
            begun = time.perf_counter()
            self.settle(self._traced())
            seconds = time.perf_counter() - begun
            logger.info("traced the model for its first batch in %.1f s\n%s", seconds, "\n".join(self.lines()))
        return self._chains

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


def orders_for(model: nn.Module, recipe: Recipe, timeline: Timeline, *, sharded: bool) -> NeuronOrders:
    """The orders of a dendritic model's neurons in a run of this recipe; where none can be chosen that is settled."""
    orders = NeuronOrders(model)
    if not isinstance(recipe.pattern, Slots):
        orders.settle(Chains())  # it has no neuron blocks
    elif sharded:
        orders.settle(all_stay(model, "the model is sharded, and cannot be traced"))
    elif timeline.reorders is None:
        orders.settle(
            all_stay(model, "the recipe chooses all synapses before the first batch, which would show its readers")
        )
    return orders
