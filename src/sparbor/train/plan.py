"""What is going to happen to a model: decided, and agreed on by all ranks, before anything of it is touched."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from sparbor.allocation.allocator import Allocator
from sparbor.allocation.growth_plan import plan_growth
from sparbor.allocation.survey import LayerEligibility, survey
from sparbor.distributed.ranks import fingerprint, is_distributed, together
from sparbor.distributed.shards import reshard
from sparbor.errors import ArgumentError
from sparbor.nn.masked_layer import MaskController, Storage
from sparbor.nn.named_layers import plain_name, replace_part
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.schedule import Timeline
from sparbor.train.optimizer_state import check_storage, why_not_compact


@dataclass(frozen=True)
class Plan:
    """A recipe and the model that it is for.

    ``sharded``: each rank holds a part of every weight. ``found``: every layer with parameters, whether it becomes
    dendritic, and if not, why. ``growing``: the same of the dendrites of each layer that does, if any are to grow.
    """

    model: nn.Module
    optimizer: Optimizer
    recipe: Recipe
    total_steps: int
    storage: Storage
    sharded: bool
    timeline: Timeline
    allocator: Allocator
    found: list[LayerEligibility]
    growing: list[LayerEligibility]

    @property
    def taken(self) -> list[LayerEligibility]:
        """The layers that become dendritic."""
        return [finding for finding in self.found if finding.taken]

    @property
    def begins_sparse(self) -> bool:
        """Whether layers come with masks."""
        return bool(self.allocator.active)

    @property
    def settled(self) -> int:
        """The step from which on the schedule changes the density no more."""
        return 0 if self.recipe.drops_nothing else self.timeline.ramp_end

    @property
    def finished(self) -> int:
        """The step from which on nothing is changed any more: whoever fine-tunes after that is free to do so."""
        if self.recipe.growth:
            return self.total_steps
        return 0 if self.recipe.drops_nothing else self.timeline.rewire_end

    def facts(self) -> dict[str, Any]:
        """What must be the same on every rank before training begins."""
        layers = {}
        for each in self.found + self.growing:
            fate = "dendritic" if each.taken else f"not dendritic ({each.reason or each.shares})"
            layers[f"layer {plain_name(each.name)!r}"] = f"{each.kind} of {each.weights} parameters, {fate}"
        recipe = {f"the recipe's {name}": value for name, value in self.recipe.to_dict().items()}
        wrapped = [each.wrapper_in(self.model) for each in self.taken] if is_distributed() else []
        masks = {"the masks' fingerprint": fingerprint(each.mask for each in wrapped if each)} if wrapped else {}
        optimizer = type(self.optimizer).__name__
        return {"total_steps": self.total_steps, "optimizer": optimizer, **recipe, **layers, **masks}

    def wrap(self, finding: LayerEligibility, controller: MaskController) -> PAINeuronModule:
        """Put the layer of the ``finding`` into a dendritic one that ``controller`` keeps, if it is in none yet."""
        module = finding.wrapper_in(self.model)
        if module is None:
            layer = self.model.get_submodule(finding.path)
            module = PAINeuronModule(layer, finding.name, weight_name=finding.weight_name)
            module.training = layer.training
            for path in (finding.path, *finding.places):
                replace_part(self.model, path, module)
        if self.recipe.method != "fixed":
            module.pattern = self.recipe.pattern
        module.shared = any(other.shares == plain_name(finding.name) for other in self.found)
        module.storage = "masked" if why_not_compact(module) else self.storage
        module.keep(controller, dense=self.sharded)  # each rank has a part of the weight, and gathers it as a whole
        if module.mode == "d":  # it came with its mask: what that drops is zero from now on, and stored as others are
            module.set_mask(module.mask, "d")
        return module


def make_plan(model: nn.Module, optimizer: Optimizer, recipe: Recipe, total_steps: int, storage: Storage) -> Plan:
    """Refuse what cannot be done, on all ranks if on one; the model is left as it is."""
    with together(ArgumentError, "let every rank train the same model with the same recipe") as facts:
        if not isinstance(model, nn.Module):
            raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
        if not isinstance(recipe, Recipe):
            kind = type(recipe).__name__
            raise ArgumentError(f"recipe is a {kind}: must be a sparbor.Recipe, or None for the defaults")
        optimizer = _unwrapped(optimizer)
        check_storage(storage, model, optimizer, grows=recipe.growth is not None)
        sharded = _check_runnable(model, recipe)
        model = model.module if isinstance(model, DistributedDataParallel) else model  # named as in one process
        timeline = recipe.timeline(total_steps)
        found, growing = survey(model, optimizer, recipe), list[LayerEligibility]()
        allocator = Allocator(model, recipe, found)
        plan = Plan(model, optimizer, recipe, total_steps, storage, sharded, timeline, allocator, found, growing)
        if recipe.growth is not None:
            growing += plan_growth(model, optimizer, recipe, recipe.growth, plan.taken)
            recipe.growth.check_fits(total_steps, plan.settled)
        facts |= plan.facts()
    return plan


def _unwrapped(optimizer: object) -> Optimizer:
    """The optimizer, or the one within it, if a trainer has wrapped it so that no hooks of the wrapper are called.

    Accelerate's wrapper is a ``torch.optim.Optimizer`` by class alone: torch has never set it up. Others that hold an
    optimizer (averaging ones, say) change weights after it has stepped; their own hooks are called then.

    Raises:
        ArgumentError: it is no optimizer, or hooks cannot be put on it.
    """
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"optimizer is a {type(optimizer).__name__}: must be a torch.optim.Optimizer")
    if hasattr(optimizer, "_optimizer_step_pre_hooks"):
        return optimizer
    within = getattr(optimizer, "optimizer", None)
    if not isinstance(within, Optimizer):
        raise ArgumentError(
            f"optimizer is a {type(optimizer).__name__} that takes no hooks: pass the torch.optim.Optimizer within it"
        )
    return _unwrapped(within)


def _check_runnable(model: nn.Module, recipe: Recipe) -> bool:
    """Refuse what the ranks cannot do together; whether the model's weights are sharded among them."""
    sharded = reshard(model)
    if sharded and recipe.growth is not None:
        raise ArgumentError(
            "growth: dendrites cannot grow in a model that fully_shard has sharded; leave out growth, or train with"
            " DistributedDataParallel"
        )
    if sharded and recipe.budget is not None:
        raise ArgumentError(
            f"Budget({recipe.budget.unit}={recipe.budget.limit:g}): no budget is kept where fully_shard was used;"
            " give a sparsity in its place, or train with DistributedDataParallel"
        )
    if recipe.growth is not None and any(isinstance(part, DistributedDataParallel) for part in model.modules()):
        raise ArgumentError(
            "growth: DistributedDataParallel does not know the parameters of dendrites that are made after it; call"
            " sparbor.perforate() first, then DistributedDataParallel(model, find_unused_parameters=True)"
        )
    return sharded
