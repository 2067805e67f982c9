"""The front door of training: wraps a model's layers and runs a recipe through the optimizer's hooks."""

import logging
from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from sparbor.distributed.ranks import (
    fingerprint,
    is_distributed,
    send_from_rank_zero,
    together,
    values_of_all,
    world_size,
)
from sparbor.distributed.shards import is_sharded, whole
from sparbor.errors import ArgumentError, StateError, TrainingError
from sparbor.modules.aims import standing
from sparbor.modules.dendrites import Dendrites
from sparbor.modules.layers import name_of_weight
from sparbor.modules.neuron import Mode, PAINeuronModule
from sparbor.modules.storage import Mover, Storage
from sparbor.modules.trained_layer import TrainedLayer, average_gradients
from sparbor.modules.wrapping import places, refuse_other_state, replace_part, wrappers
from sparbor.recipe.allocation import plan_growth
from sparbor.recipe.allocator import Allocator
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.survey import LayerEligibility, folded, plain_name, survey
from sparbor.topology.rewire import Topology, rewire
from sparbor.training.compaction import check_storage, compact_states, expand_states, why_not_compact
from sparbor.training.grower import Grower, GrowthEvent
from sparbor.training.neuron_orders import orders_for
from sparbor.training.optimizer_state import holds, replace_parameter, reset_state
from sparbor.training.other_optimizers import OtherOptimizers
from sparbor.training.plateau import checked_score
from sparbor.training.resuming import STATE_VERSION, check_same_run
from sparbor.training.scaling import check_runnable, facts_of, module_within
from sparbor.training.sparse_lr import SparseLR
from sparbor.training.summary import dense_at_last, table
from sparbor.training.unwrap_optimizer import unwrap_optimizer

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
    their identity. ``print(perforator)`` shows what was wrapped, what was not, and why; which layers ``deploy`` will
    store dense; and, from the first batch on, whose neurons stay in order.

    Args:
        model: any module with Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d or MultiheadAttention layers; in
            ``DistributedDataParallel`` or sharded by ``fully_shard``, if every rank calls this.
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
        model, optimizer, recipe, total_steps, storage: as given; of a ``DistributedDataParallel`` the model within it.
        steps: optimizer steps done so far; steps that a ``GradScaler`` skipped do not count.
        findings: every layer with parameters: taken or not, and why.
        modules: the wrapped layers by name.
        orders: which layers' neurons are put in another order at the switch to dendrite mode, so that those of a group
            agree (``orders.found``), and why those of others are not (``orders.reasons``). Known from the first batch
            on, for which the model is traced.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, recipe: Recipe, total_steps: int, storage: Storage
    ) -> None:
        self.recipe = recipe
        self.storage = storage
        with together(ArgumentError, "let every rank train the same model with the same recipe") as facts:
            _check_types(model, recipe)
            optimizer = unwrap_optimizer(optimizer)
            check_storage(storage, model, optimizer, grows=recipe.growth is not None)
            self._sharded = check_runnable(model, recipe)
            model = module_within(model)
            self.timeline = recipe.timeline(total_steps)
            found = survey(model, optimizer, recipe)
            self._allocator = Allocator(model, recipe, found)
            taken, growing = [finding for finding in found if finding.taken], list[LayerEligibility]()
            if recipe.growth is not None:
                growing = plan_growth(model, optimizer, recipe, recipe.growth, taken)
                recipe.growth.check_fits(total_steps, self._settled)
            self.findings = found + growing
            facts |= facts_of(recipe, total_steps, optimizer, self.findings)
        self.model = model
        self.optimizer = optimizer
        self.total_steps = total_steps
        self.steps = 0
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._wrapped = [TrainedLayer(finding.name, self._wrap(finding)) for finding in taken]
        self._grower = self._make_grower(growing)
        self._allocator.divide(self._layers)
        self.orders = orders_for(model, recipe, self.timeline, sharded=self._sharded)
        # LBFGS has searched for the length of its steps.
        self._sparse_lr = SparseLR(0 if isinstance(optimizer, LBFGS) else recipe.step_exponent)
        until = 0 if recipe.sparsity == 0 else self.timeline.rewire_end
        self._other_optimizers = OtherOptimizers(total_steps if recipe.growth else until, total_steps)
        self._stepping = False
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(lambda *_: self._after_step()),
            self.orders.batch.hook,
        ]
        self._loaded_states = False
        if storage == "compact":
            self._hooks.append(optimizer.register_state_dict_post_hook(self._expand_states))
            self._hooks.append(optimizer.register_load_state_dict_post_hook(self._note_states))
        # Whatever part of the model is loaded, a state dict is refused before the first of its layers is changed.
        self._hooks += [
            module.register_load_state_dict_pre_hook(refuse_other_state)  # type: ignore[no-untyped-call]
            for module in model.modules()
            if not isinstance(module, PAINeuronModule) and _named_dendritic(module)
        ]
        logger.info("perforated %s\n%s", type(model).__name__, self)
        self._follow_schedule()

    def __str__(self) -> str:
        lines = [table(self.findings, self.recipe, self.modules)]
        lines += dense_at_last(self.model, self.findings, self.recipe, self.modules, self.orders.shapes)
        lines += self.orders.lines()
        if self.storage == "compact":
            reasons = {module.name: why for module in self.modules.values() if (why := why_not_compact(module))}
            lines += folded("the weights of {layers} stay masked: {why}", reasons)
        return "\n".join(lines)

    @property
    def modules(self) -> dict[str, PAINeuronModule]:
        """The wrapped layers by name, and those of dendrites that have grown (``"fc1.dendrites.0.inputs"``)."""
        return {layer.name: layer.module for layer in self._layers}

    @property
    def _layers(self) -> list[TrainedLayer]:
        """The wrapped layers, and those of the dendrites that have grown."""
        return self._wrapped + (self._grower.layers if self._grower else [])

    @property
    def growth_events(self) -> list[GrowthEvent]:
        """When dendrites were grown, kept and rolled back, in order."""
        return list(self._grower.events) if self._grower else []

    def density(self) -> float:
        """Active weights over all weights of the wrapped layers, counted from the masks.

        The synapses of grown dendrites are active weights; all the weights that they might have are not counted.
        """
        active = sum(layer.module.active_weights() for layer in self._layers)
        return active / sum(layer.module.mask.numel() for layer in self._wrapped)

    def validate(self, score: float) -> None:
        """Tell of a validation score, the higher the better, between two steps: growth on plateaus goes by it.

        A generation of dendrites that is on trial is kept or rolled back here. A recipe without growth needs no scores.
        Ranks that train together all call this; the mean of their scores counts.

        Raises:
            ArgumentError: the score is no finite number, or scores come too rarely for a plateau to be seen.
        """
        if self._grower is None:
            checked_score(score)
            return
        with together(ArgumentError, "validate after the same steps on every rank") as facts:
            score = checked_score(score)
            facts["steps"] = self.steps
        if self._grower.validate(mean(values_of_all(score)), self.steps):
            self._end_trial()

    def cost(self) -> float:
        """What the model costs with its present masks, in the unit of the recipe's budget; see :class:`Budget`."""
        return self._allocator.cost(self._layers)

    def set_mode(self, mode: Mode) -> None:
        """Switch every layer by hand; the schedule decides again at its next rewiring."""
        for layer in self._layers:
            layer.module.set_mode(mode)

    def mask_copy(self, copy: nn.Module) -> nn.Module:
        """Give a copy of the model (an average of its weights, say) the masks and orders as they are; returns it."""
        copies = _named_dendritic(copy)
        names = [plain_name(layer.name) for layer in self._layers]
        if not all(name in copies for name in names):
            copies = {name.removeprefix("module."): module for name, module in copies.items()}  # an AveragedModel's
        for name, layer in zip(names, self._layers, strict=True):
            if name not in copies:
                raise ArgumentError(f"the copy has no dendritic layer {name!r}: pass a copy of the perforated model")
            copies[name].set_mask(layer.module.mask, layer.module.mode)
            copies[name].sparsity = layer.module.sparsity
            copies[name].arrange(layer.module.neuron_order, layer.module.input_order)
            if isinstance(own := layer.module.dendrites, Dendrites):
                grown = copies[name].dendrites
                assert isinstance(grown, Dendrites)  # a copy of ours
                grown.grow_to(own.count)
        return copy

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides the model's and the optimizer's state (the masks are in the model's)."""
        return {
            "version": STATE_VERSION,
            "recipe": self.recipe.to_dict(),
            "total_steps": self.total_steps,
            "world_size": world_size(),
            "steps": self.steps,
            "generator": self._generator.get_state(),
            "layers": {plain_name(layer.name): list(layer.module.mask.shape) for layer in self._wrapped},
            **({"growth": self._grower.state_dict()} if self._grower else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; one of another model, recipe, world size or version is refused.

        What one rank refuses all refuse, and ranks that would go on from different states.
        """
        with together(StateError, "load the same checkpoint on every rank") as facts:
            self._take_over(state)
            facts |= self._position()

    def _take_over(self, state: dict[str, Any]) -> None:
        check_same_run(state, self.state_dict())
        steps, generator = state.get("steps"), state.get("generator")
        if not isinstance(steps, int) or steps < 0 or not isinstance(generator, Tensor):
            raise StateError(f"the state is damaged: steps={steps!r} and a {type(generator).__name__} as generator")
        try:
            self._generator.set_state(generator.cpu())
        except (RuntimeError, TypeError) as error:
            raise StateError(f"the state's generator cannot be restored ({error}): it is damaged") from error
        if self._grower:
            self._grower.load_state_dict(state.get("growth"))
        self.steps = steps
        self._forget_gradients()

    def detach(self) -> None:
        """Take all hooks away; the layers stay wrapped and mask their weights themselves from now on."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        if hooks:  # every layer that is released calls this again
            for layer in self._wrapped:
                layer.module.release()
            if self._grower:
                self._grower.release()

    def backward_came(self, module: PAINeuronModule) -> None:
        """Called by a module on a backward pass: its weight must not have changed much since the last step."""
        if not self._stepping:  # what a closure does within a step is the optimizer's doing
            self._other_optimizers.backward_came(module, self.steps)

    def gradient_came(self, module: PAINeuronModule, gradient: Tensor) -> None:
        """Called by a module in dendrite mode on a backward pass: growth needs the gradient of inactive weights."""
        if self._topology_changes_by_gradient():
            next(layer for layer in self._layers if layer.module is module).add_gradient(gradient)

    def needs_gradient(self, module: PAINeuronModule) -> bool:
        """Called by a module in a forward pass: growth after the step that comes needs the dense gradient."""
        return self._topology_changes_by_gradient()

    def parameter_replaced(self, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
        """Called by a module that stores its weights in another parameter now."""
        self._check_held(old)
        replace_parameter(self.optimizer, old, new, move)

    def mask_changed(self, module: PAINeuronModule, changed: Tensor) -> None:
        """Called by a module whose mask has changed: what was born or died starts afresh in the optimizer."""
        self._check_held(module.parameter)
        reset_state(self.optimizer, module.parameter, changed)

    def unfinished(self) -> str | None:
        """Why the layers are denser still than the recipe wants them, and what to do; ``None`` if they are not."""
        now = standing(layer.module for layer in self._layers)
        if self.steps >= self.timeline.ramp_end or not now.too_dense:
            return None
        return (
            f"the dendritic layers keep {now}: {self.steps:,} of {self.total_steps:,} steps are done, and the final"
            f" density is reached at step {self.timeline.ramp_end:,}; train on, or pass the total_steps that the loop"
            " really takes to sparbor.perforate()"
        )

    def _check_held(self, weight: nn.Parameter) -> None:
        if not holds(self.optimizer, weight):
            name = next(layer.name for layer in self._layers if layer.module.parameter is weight)
            raise StateError(
                f"layer {name!r} has a new parameter as its weight, which the optimizer does not hold: keep the old "
                "one and copy the new values into it, layer.weight.data.copy_(values)"
            )

    def _wrap(self, finding: LayerEligibility) -> PAINeuronModule:
        layer = self.model.get_submodule(finding.path)
        by_hand = (each for each in wrappers(layer) if each.weight_name == finding.weight_name)
        module = next(by_hand, None)
        if not isinstance(module, PAINeuronModule):
            module = PAINeuronModule(layer, finding.name, weight_name=finding.weight_name)
            module.training = layer.training
            replace_part(self.model, finding.path, module)
        module.pattern = self.recipe.pattern
        module.storage = "masked" if why_not_compact(module) else self.storage
        module.keep(self, dense=self._sharded)  # each rank has a part of the weight, and gathers it as a whole
        return module

    @property
    def _settled(self) -> int:
        """The step from which on the schedule changes the density no more."""
        return self.timeline.ramp_end if self.recipe.sparsity else 0

    def _make_grower(self, growing: list[LayerEligibility]) -> Grower | None:
        if self.recipe.growth is None:
            return None
        names = {finding.name for finding in growing if finding.taken}
        layers = [layer for layer in self._wrapped if f"{layer.name}.dendrites" in names]
        random = torch.Generator().manual_seed(self.recipe.seed)  # its own: what SET grows does not depend on it
        return Grower(
            self.recipe.growth, self.model, self.optimizer, layers, self, random, self.total_steps, self._settled
        )

    def _expand_states(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        return expand_states(optimizer, self.modules.values(), state_dict)

    def _note_states(self, _: Optimizer) -> None:
        self._loaded_states = True  # they are taken in with the next step: masks may be loaded after them

    def _topology_changes_by_gradient(self) -> bool:
        """Whether something grows after the step that comes now, where the dense gradient is largest."""
        step = self.steps + 1
        rewires = self.recipe.method == "rigl" and self.timeline.rewires(step) and self.timeline.drop(step) > 0
        return rewires or (self._grower is not None and self._grower.is_due(step))

    def _before_step(self, *_: Any) -> None:
        self._stepping = True
        self.orders.stop_listening()
        self._other_optimizers.stepped()
        if self._loaded_states:
            compact_states(self.optimizer, self.modules.values())
            self._loaded_states = False
        self._sparse_lr.before_step(self.modules.values())

    def _after_step(self) -> None:
        self._sparse_lr.after_step()
        found_inf = getattr(self.optimizer, "found_inf", None)  # a fused optimizer that GradScaler made skip its step
        if found_inf is not None and found_inf.item():
            return
        for layer in self._layers:
            layer.module.apply_mask()
        if not self._stepping:  # a subclass' step that called super().step(), which was counted: torch hooks both
            return
        self._stepping = False
        if self._topology_changes_by_gradient():
            average_gradients(self._layers)
        self.steps += 1
        self._follow_schedule()

    def _follow_schedule(self) -> None:
        if self.steps == self.timeline.switch:
            # Anew, from the weights that there are now: the run may have been resumed.
            self._allocator.divide(self._layers)
        if self.steps == self.timeline.reorders:
            self.orders.choose()
        if self._grower and self._grower.follow(self.steps):
            self._grow(self._grower)
        if self.timeline.rewires(self.steps):
            self._rewire_all()
            logger.debug("step %d: density %.4f", self.steps, self.density())
        elif not (self._grower and self._grower.grown_at == self.steps):
            return
        self._forget_gradients()
        with together(TrainingError, "start every rank from the same weights and give it the same optimizer") as facts:
            facts |= self._position()

    def _position(self) -> dict[str, Any]:
        """Where every rank must be; nothing where there is but one, since it takes a while to find out."""
        if not is_distributed():
            return {}
        chosen = [(layer.module.mask, layer.module.neuron_order, layer.module.input_order) for layer in self._layers]
        return {
            "steps": self.steps,
            f"the masks' fingerprint after step {self.steps}": fingerprint(each for three in chosen for each in three),
            "the random generator's fingerprint": fingerprint([self._generator.get_state()]),
        }

    def _rewire_all(self) -> None:
        self._refuse_sharded_since()
        drop = self.timeline.drop(self.steps)
        topologies = [self._allocator.topology(layer, self._growth(layer)) for layer in self._layers]
        progress = self.timeline.progress(self.steps)
        for members, budget in self._allocator.budgets(self._layers, topologies, progress):
            self._rewire(members, [topologies[index] for index in members], budget, drop)

    def _rewire(self, members: Sequence[int], layers: list[Topology], budget: int, drop: float) -> None:
        masks = rewire(layers, self.recipe.pattern, budget, drop)
        if self._sharded:
            send_from_rank_zero(masks)
        for index, mask in zip(members, masks, strict=True):
            module = self._layers[index].module
            module.set_mask(module.from_matrix(mask), "d")

    def _grow(self, grower: Grower) -> None:
        """Grow a generation; in dendrite mode the others make room for it, so that the budget is kept."""
        if grower.on_trial:
            self._end_trial()
        if not grower.is_due(self.steps):
            return
        newborn = grower.grow(self.steps)
        layers = self._layers
        divided = self._allocator.divide(layers)
        if self.steps < self.timeline.switch:
            return
        for pool in divided:
            whole = left = pool.budget(self.timeline.progress(self.steps))
            for layer in (layers[index] for index in pool.layers if layers[index] in newborn):
                share = round(whole * layer.module.mask.numel() / pool.weights)
                grower.choose_synapses(layer, self.recipe.pattern, share, self._generator)
                left -= layer.module.active_weights()
            if older := [index for index in pool.layers if layers[index] not in newborn]:
                self._rewire(older, [self._allocator.topology(layers[index]) for index in older], left, drop=0.0)

    def _end_trial(self) -> None:
        assert self._grower is not None
        if self._grower.end_trial(self.steps):
            self._forget_gradients()
            self._allocator.divide(self._layers)

    def _growth(self, layer: TrainedLayer) -> Tensor | None:
        module = layer.module
        if self.recipe.method == "set" and module.parameter.requires_grad:
            return torch.rand(module.mask.shape, generator=self._generator).to(module.mask.device)
        return None if layer.dense_gradient is None else whole(layer.dense_gradient)

    def _refuse_sharded_since(self) -> None:
        for layer in self._layers:
            if is_sharded(layer.module.parameter) and not self._sharded:
                raise StateError(
                    f"layer {layer.name!r} has been sharded since sparbor.perforate(): call fully_shard first, make the"
                    " optimizer of what it leaves, and then call sparbor.perforate()"
                )

    def _forget_gradients(self) -> None:
        for layer in self._layers:
            layer.forget_gradient()


def _check_types(model: object, recipe: object) -> None:
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
    if not isinstance(recipe, Recipe):
        raise ArgumentError(f"recipe is a {type(recipe).__name__}: must be a sparbor.Recipe, or None for the defaults")


def _named_dendritic(model: nn.Module) -> dict[str, PAINeuronModule]:
    """The wrapped layers by the names that findings have."""
    return {
        plain_name(name_of_weight(place.plain_path, place.module.weight_name)): place.module
        for place in places(model)
        if isinstance(place.module, PAINeuronModule)
    }
