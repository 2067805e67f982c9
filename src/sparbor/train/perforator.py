"""The front door of training: `perforate` a model, and the handle on what happens to it."""

import logging
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sparbor.allocation.survey import folded
from sparbor.errors import ArgumentError
from sparbor.nn.layers import name_of_weight
from sparbor.nn.masked_layer import Mode, Storage
from sparbor.nn.named_layers import named_layers, plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.recipe import Recipe
from sparbor.train.grower import GrowthEvent
from sparbor.train.optimizer_state import why_not_compact
from sparbor.train.plan import make_plan
from sparbor.train.run import SparseRun
from sparbor.train.summary import LayerRow, rows, table

logger = logging.getLogger("sparbor")


def perforate(
    model: nn.Module,
    optimizer: Optimizer,
    recipe: Recipe | None = None,
    *,
    total_steps: int,
    storage: Storage = "masked",
) -> "Perforator":
    """Make ``model`` dendritic, in place; the training loop stays as it was.

    Every eligible layer is wrapped in :class:`PAINeuronModule`, and hooks on the weights and on ``optimizer`` mask
    gradients, keep dropped weights at zero, and change the topology as the recipe's schedule says. Parameters keep
    their identity. ``print(perforator)`` shows each layer: whether it was wrapped, how dense it is and will be, and why
    it is not sparser; and, from the first batch on, whose neurons stay in order. A model whose layers have masks
    already, and that no run is training, begins with these: they stay with ``Recipe(method="fixed")``, and become
    sparser with other methods.

    Args:
        model: any module with linear, convolutional, recurrent (LSTM, GRU, RNN, and their cells) or MultiheadAttention
            layers; in ``DistributedDataParallel`` or sharded by ``fully_shard``, if every rank calls this.
        optimizer: any ``torch.optim.Optimizer`` that holds the model's parameters, also as a trainer has wrapped it.
        recipe: how sparse, and how it gets there; ``Recipe()`` if ``None``.
        total_steps: how many optimizer steps the run will take; later steps keep the last masks.
        storage: ``"masked"`` keeps every parameter as it is, with zeros where nothing is active. ``"compact"`` gives
            the optimizer parameters that hold the active weights alone, of larger layers (16384 weights or more) of
            which at most half are active, so that memory and the optimizer's work fall with the density. Parameters
            are exchanged whenever the topology changes: whoever keeps a list of them must ask the model again. State
            dicts are the same for both.

    Raises:
        ArgumentError: nothing can be wrapped, the optimizer holds other parameters, the model is perforated already,
            or ranks that train together differ in what they pass; ``storage="compact"`` where others hold on to the
            parameters (DistributedDataParallel, FSDP, ``torch.compile``), with an optimizer that does not treat each
            weight by itself, or with grown dendrites.

    >>> import torch, sparbor
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> perforator = sparbor.perforate(model, optimizer, sparbor.Recipe(sparsity=0.9), total_steps=20)
    >>> for _ in range(20):
    ...     model(torch.randn(8, 64)).square().mean().backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> round(perforator.density(), 2)
    0.1
    """
    return Perforator(model, optimizer, Recipe() if recipe is None else recipe, total_steps, storage)


class Perforator:
    """Runs a recipe on a model; made by :func:`perforate`.

    Attributes:
        model: as given; of a ``DistributedDataParallel`` the model within it.
        optimizer: as given.
        recipe: as given.
        total_steps: as given.
        storage: as given.
        steps: optimizer steps done so far; steps that a ``GradScaler`` skipped do not count.
        findings: every layer with parameters: taken or not, and why.
        modules: the wrapped layers by name.
        orders: which layers' neurons are put in another order at the switch to dendrite mode, so that those of a block
            agree (``orders.found``), and why those of others are not (``orders.reasons``). Known from the first batch
            on, for which the model is traced.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, recipe: Recipe, total_steps: int, storage: Storage
    ) -> None:
        plan = make_plan(model, optimizer, recipe, total_steps, storage)
        self.model = plan.model
        self.optimizer = plan.optimizer
        self.recipe = recipe
        self.total_steps = total_steps
        self.storage = storage
        self.timeline = plan.timeline
        self.findings = plan.found + plan.growing
        self._allocator = plan.allocator
        self._run = SparseRun(plan)
        self.orders = self._run.orders
        logger.info("perforated %s\n%s", type(self.model).__name__, self)
        self._run.follow_schedule()

    def __str__(self) -> str:
        lines = [table(self.rows(), self.recipe), *self.orders.lines()]
        if self.storage == "compact":
            reasons = {module.name: why for module in self.modules.values() if (why := why_not_compact(module))}
            lines += folded("the weights of {layers} stay masked: {why}", reasons)
        return "\n".join(lines)

    @property
    def steps(self) -> int:
        """Optimizer steps done so far."""
        return self._run.steps

    @property
    def modules(self) -> dict[str, PAINeuronModule]:
        """The wrapped layers by name, and those of dendrites that have grown (``"fc1.dendrites.0.inputs"``)."""
        return {layer.name: layer.module for layer in self._run.layers}

    def rows(self) -> list[LayerRow]:
        """What ``print(perforator)`` shows, as data: an object for each layer with parameters, in their order.

        It has the layer's ``name``, ``kind`` and ``parameters``; whether it is ``dendritic``; its ``density`` now and
        its ``final_density``, which are ``None`` where it has none or where that is not decided yet; whether ``deploy``
        will store it dense, ``dense_at_last``, as far as that is known; and ``why`` it is no sparser.
        """
        there = {
            plain_name(name_of_weight(place.plain_path, place.module.weight_name)): place.module
            for place in named_layers(self.model)
            if isinstance(place.module, PAINeuronModule)
        }
        return rows(self.findings, self.recipe, {**there, **self.modules}, self.orders.shapes)

    @property
    def growth_events(self) -> list[GrowthEvent]:
        """When dendrites were grown, kept and rolled back, in order."""
        return list(self._run.grower.events) if self._run.grower else []

    def density(self) -> float:
        """Active weights over all weights of the wrapped layers, counted from the masks.

        The synapses of grown dendrites are active weights; all the weights that they might have are not counted.
        """
        return self._run.density()

    def validate(self, score: float) -> None:
        """Tell of a validation score, the higher the better, between two steps: growth on plateaus goes by it.

        A generation of dendrites that is on trial is kept or rolled back here. A recipe without growth needs no scores.
        Ranks that train together all call this; the mean of their scores counts.

        Raises:
            ArgumentError: the score is no finite number, or scores come too rarely for a plateau to be seen.
        """
        self._run.validate(score)

    def cost(self) -> float:
        """What the model costs with its present masks, in the unit of the recipe's budget; see :class:`Budget`."""
        return self._allocator.cost(self._run.layers)

    def set_mode(self, mode: Mode) -> None:
        """Switch every layer by hand; the schedule decides again at its next rewiring."""
        for module in self.modules.values():
            module.set_mode(mode)

    def mask_copy(self, copy: nn.Module) -> nn.Module:
        """Give a copy of the model (an average of its weights, say) the masks and orders as they are; returns it."""
        copies = {
            plain_name(name_of_weight(place.plain_path, place.module.weight_name)): place.module
            for place in named_layers(copy)
            if isinstance(place.module, PAINeuronModule)
        }
        own = {plain_name(name): module for name, module in self.modules.items()}
        if not own.keys() <= copies.keys():
            copies = {name.removeprefix("module."): module for name, module in copies.items()}  # an AveragedModel's
        for name, module in own.items():
            if name not in copies:
                raise ArgumentError(f"the copy has no dendritic layer {name!r}: pass a copy of the perforated model")
            copies[name].set_mask(module.mask, module.mode)
            copies[name].sparsity = module.sparsity
            copies[name].permute_neurons(module.neuron_order, module.input_order)
            if module.dendrites is not None:
                copies[name].dendrites.grow_to(module.dendrites.count)
        return copy

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides the model's and the optimizer's state (the masks are in the model's)."""
        return self._run.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; one of another model, recipe, world size or version is refused.

        What one rank refuses all refuse, and ranks that would go on from different states.
        """
        self._run.load_state_dict(state)

    def detach(self) -> None:
        """Take all hooks away; the layers stay wrapped and mask their weights themselves from now on."""
        self._run.detach()
