"""When and how a recipe changes the topology of layers: all of them at once, or to make room for new dendrites."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparbor.distributed.ranks import send_from_rank_zero
from sparbor.distributed.shards import is_sharded, whole
from sparbor.errors import StateError
from sparbor.nn.trained_layer import TrainedLayer
from sparbor.topology.rewire import RewireInput, rewire
from sparbor.train.grower import Grower
from sparbor.train.plan import Plan


class Rewiring:
    """Chooses masks for the layers of a ``plan``; of sharded weights each rank holds a part, and rank 0 decides.

    ``generator`` is that of what grows at random.
    """

    def __init__(self, plan: Plan) -> None:
        self.generator = torch.Generator().manual_seed(plan.recipe.seed)
        self._plan = plan

    def needs_gradient(self, step: int) -> bool:
        """Whether something grows after ``step`` where the dense gradient is largest."""
        timeline = self._plan.timeline
        return self._plan.recipe.method == "rigl" and timeline.rewires(step) and timeline.drop(step) > 0

    def rewire_all(self, layers: Sequence[TrainedLayer], step: int) -> None:
        """Change the topology of all ``layers`` as the schedule says after ``step``."""
        self._refuse_sharded_since(layers)
        drop = self._plan.timeline.drop(step)
        growth = [self._growth(layer) for layer in layers]
        for share in self._plan.allocator.budgets(layers, growth, self._plan.timeline.progress(step)):
            self._rewire(*share, drop)

    def grow_into(
        self, grower: Grower, newborn: Sequence[TrainedLayer], layers: Sequence[TrainedLayer], step: int
    ) -> None:
        """Give the ``newborn`` among the ``layers`` their synapses; others make room, so that the budget is kept."""
        divided = self._plan.allocator.divide(layers)
        if step < self._plan.timeline.switch:
            return
        for share in divided:
            total = left = share.budget(self._plan.timeline.progress(step))
            for layer in (layers[index] for index in share.layers if layers[index] in newborn):
                part = round(total * layer.module.mask.numel() / share.weights)
                grower.choose_synapses(layer, self._plan.recipe.pattern, part, self.generator)
                left -= layer.module.active_weights()
            if older := [layers[index] for index in share.layers if layers[index] not in newborn]:
                self._rewire(older, [self._plan.allocator.rewire_input(layer) for layer in older], left, drop=0.0)

    def _rewire(self, layers: Sequence[TrainedLayer], inputs: Sequence[RewireInput], budget: int, drop: float) -> None:
        masks = rewire(inputs, self._plan.recipe.pattern, budget, drop)
        if self._plan.sharded:
            send_from_rank_zero(masks)
        for layer, mask in zip(layers, masks, strict=True):
            layer.module.set_mask(layer.module.from_matrix(mask), "d")

    def _growth(self, layer: TrainedLayer) -> Tensor | None:
        """What growth in the layer goes by, if anything can grow there now."""
        module = layer.module
        if self._plan.recipe.method == "set" and module.parameter.requires_grad:
            return torch.rand(module.mask.shape, generator=self.generator).to(module.mask.device)
        return None if layer.dense_gradient is None else whole(layer.dense_gradient)

    def _refuse_sharded_since(self, layers: Sequence[TrainedLayer]) -> None:
        for layer in layers:
            if is_sharded(layer.module.parameter) and not self._plan.sharded:
                raise StateError(
                    f"layer {layer.name!r} has been sharded since sparbor.perforate(): call fully_shard first, make the"
                    " optimizer of what it leaves, and then call sparbor.perforate()"
                )
