"""The front door of training: wraps a model's layers and runs a recipe through the optimizer's hooks."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparbor.chains import Chains, chains
from sparbor.distribution import Pool, pools
from sparbor.errors import ArgumentError, StateError
from sparbor.layers import name_of_weight
from sparbor.modules import Mode, PAINeuronModule
from sparbor.pattern import Slots
from sparbor.recipe import Recipe
from sparbor.regroup import regroup
from sparbor.rewire import Topology, reset_state, rewire
from sparbor.spending import Spending
from sparbor.survey import Finding, plain_name, survey, table
from sparbor.wrapping import places, plain_layer, refuse_other_state, wrappers

logger = logging.getLogger("sparbor")
STATE_VERSION = 1


def perforate(
    model: nn.Module, optimizer: Optimizer, recipe: Recipe | None = None, *, total_steps: int
) -> "Perforator":
    """Make ``model`` dendritic, in place; the training loop stays as it was.

    Every eligible layer is wrapped in :class:`PAINeuronModule`, and hooks on the weights and on ``optimizer`` mask
    gradients, keep dropped weights at zero, and change the topology as the recipe's schedule says. Parameters keep
    their identity. ``print(perforator)`` shows what was wrapped, what was not, and why.

    Args:
        model: any module with Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d or MultiheadAttention layers.
        optimizer: any ``torch.optim.Optimizer`` that holds the model's parameters.
        recipe: how sparse, and how it gets there; ``Recipe()`` if ``None``.
        total_steps: how many optimizer steps the run will take; later steps keep the last masks.

    Raises:
        ArgumentError: nothing can be wrapped, the optimizer holds other parameters, the model is perforated already.

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
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"optimizer is a {type(optimizer).__name__}: must be a torch.optim.Optimizer")
    if recipe is not None and not isinstance(recipe, Recipe):
        raise ArgumentError(f"recipe is a {type(recipe).__name__}: must be a sparbor.Recipe, or None for the defaults")
    return Perforator(model, optimizer, Recipe() if recipe is None else recipe, total_steps)


def unwrap(model: nn.Module) -> nn.Module:
    """Give the plain model back, in place: dropped weights are zero, masks and hooks are gone.

    Works on a model that was perforated, on one whose layers were wrapped by hand, and on copies of both.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
    if isinstance(model, PAINeuronModule):
        model = model.unwrap()
    for _, path, module in list(places(model)):
        if isinstance(module, PAINeuronModule):
            _replace(model, path, module.unwrap())
    return model


@dataclass
class _Layer:
    """One wrapped layer and, on the step before a growth, the dense gradient that its backward passes add up to."""

    name: str
    module: PAINeuronModule
    dense_gradient: Tensor | None = None

    def add_gradient(self, gradient: Tensor) -> None:
        """What a backward pass brings, before it is masked."""
        if self.dense_gradient is None or self._was_cleared(self.dense_gradient):
            self.dense_gradient = gradient.detach().clone()
        else:
            self.dense_gradient += gradient.detach()

    def _was_cleared(self, dense_gradient: Tensor) -> bool:
        """Whether what came so far belonged to a step that was taken back, as GradScaler does."""
        accumulated = self.module.weight.grad
        # Zeros say so only if there was something else before: no active weight may have had a gradient.
        return accumulated is None or (
            not bool(accumulated.any()) and bool((dense_gradient * self.module.multiplier()).any())
        )


class Perforator:
    """Runs a recipe on a model; made by :func:`perforate`.

    Attributes:
        model, optimizer, recipe, total_steps: as given.
        steps: optimizer steps done so far; steps that a ``GradScaler`` skipped do not count.
        findings: every layer with parameters: taken or not, and why.
        modules: the wrapped layers by name.
        orders: which layers' neurons are put in another order at the switch to dendrite mode, so that those of a group
            agree, and why those of others are not.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, recipe: Recipe, total_steps: int) -> None:
        self.timeline = recipe.timeline(total_steps)
        self.findings: list[Finding] = survey(model, optimizer, recipe)
        self._spending = Spending.of(model, recipe, self.findings)
        self.model = model
        self.optimizer = optimizer
        self.recipe = recipe
        self.total_steps = total_steps
        self.steps = 0
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._layers = [_Layer(f.name, self._wrap(f)) for f in self.findings if f.taken]
        self._pools: list[Pool] = self._divided()
        for pool in self._pools:
            for index in pool.layers:
                self._layers[index].module.sparsity = 1 - pool.density
        self.orders = chains(model) if isinstance(recipe.pattern, Slots) else Chains()
        self._stepping = False
        self._hooks = [
            optimizer.register_step_pre_hook(lambda *_: self._before_step()),
            optimizer.register_step_post_hook(lambda *_: self._after_step()),
        ]
        # Whatever part of the model is loaded, a state dict is refused before the first of its layers is changed.
        self._hooks += [
            module.register_load_state_dict_pre_hook(refuse_other_state)  # type: ignore[no-untyped-call]
            for module in model.modules()
            if not isinstance(module, PAINeuronModule) and _named_dendritic(module)
        ]
        logger.info("perforated %s\n%s", type(model).__name__, self)
        self._follow_schedule()

    def __str__(self) -> str:
        kept = [f"the neurons of {name} stay in order: {why}" for name, why in self.orders.reasons.items()]
        return "\n".join([table(self.findings), *kept])

    @property
    def modules(self) -> dict[str, PAINeuronModule]:
        """The wrapped layers by name."""
        return {layer.name: layer.module for layer in self._layers}

    def density(self) -> float:
        """Active weights over all weights of the wrapped layers, counted from the masks."""
        active = sum(layer.module.active_weights() for layer in self._layers)
        return active / sum(layer.module.mask.numel() for layer in self._layers)

    def cost(self) -> float:
        """What the model costs with its present masks, in the unit of the recipe's budget; see :class:`Budget`."""
        if self._spending is None:
            raise ArgumentError("cost(): the recipe has no budget; give it one, such as Budget(latency_us=40)")
        return self._spending.cost([self._topology(layer) for layer in self._layers])

    def set_mode(self, mode: Mode) -> None:
        """Switch every layer by hand; the schedule decides again at its next rewiring."""
        for layer in self._layers:
            layer.module.set_mode(mode)

    def mask_copy(self, copy: nn.Module) -> nn.Module:
        """Give a copy of the model (an average of its weights, say) the masks as they are now; returns the copy."""
        copies = _named_dendritic(copy)
        names = [plain_name(layer.name) for layer in self._layers]
        if not all(name in copies for name in names):
            copies = {name.removeprefix("module."): module for name, module in copies.items()}  # an AveragedModel's
        for name, layer in zip(names, self._layers, strict=True):
            if name not in copies:
                raise ArgumentError(f"the copy has no dendritic layer {name!r}: pass a copy of the perforated model")
            copies[name].set_mask(layer.module.mask, layer.module.mode)
        return copy

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides the model's and the optimizer's state (the masks are in the model's)."""
        return {
            "version": STATE_VERSION,
            "recipe": self.recipe.to_dict(),
            "total_steps": self.total_steps,
            "steps": self.steps,
            "generator": self._generator.get_state(),
            "layers": {plain_name(layer.name): list(layer.module.mask.shape) for layer in self._layers},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; a state of another model, recipe or version is refused."""
        if not isinstance(state, dict):
            raise StateError(f"the perforator's state is a {type(state).__name__}: pass what state_dict() gave")
        if state.get("version") != STATE_VERSION:
            raise StateError(
                f"perforator state of version {state.get('version')!r}: this release reads version {STATE_VERSION};"
                " resume with the release that wrote it"
            )
        own = self.state_dict()
        for part, remedy in (
            ("layers", "load it into the model it was saved from"),
            ("recipe", "pass the recipe it was saved with to sparbor.perforate()"),
            ("total_steps", "pass the total_steps it was saved with to sparbor.perforate()"),
        ):
            if state.get(part) != own[part]:
                raise StateError(f"the state has other {part} ({_difference(state.get(part), own[part])}): {remedy}")
        steps, generator = state.get("steps"), state.get("generator")
        if not isinstance(steps, int) or steps < 0 or not isinstance(generator, Tensor):
            raise StateError(f"the state is damaged: steps={steps!r} and a {type(generator).__name__} as generator")
        try:
            self._generator.set_state(generator.cpu())
        except (RuntimeError, TypeError) as error:
            raise StateError(f"the state's generator cannot be restored ({error}): it is damaged") from error
        self.steps = steps
        self._forget_gradients()

    def detach(self) -> None:
        """Take all hooks away; the layers stay wrapped and mask their weights themselves from now on."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        if hooks:  # every layer that is released calls this again
            for layer in self._layers:
                layer.module.release()

    def gradient_came(self, module: PAINeuronModule, gradient: Tensor) -> None:
        """Called by a module in dendrite mode on a backward pass: growth needs the gradient of inactive weights."""
        if self._growth_is_next():
            next(layer for layer in self._layers if layer.module is module).add_gradient(gradient)

    def mask_changed(self, module: PAINeuronModule, changed: Tensor) -> None:
        """Called by a module whose mask has changed: what was born or died starts afresh in the optimizer."""
        reset_state(self.optimizer, module.weight, changed)

    def _wrap(self, finding: Finding) -> PAINeuronModule:
        layer = self.model.get_submodule(finding.path)
        by_hand = (each for each in wrappers(layer) if each.weight_name == finding.weight_name)
        module = next(by_hand, None)
        if not isinstance(module, PAINeuronModule):
            module = PAINeuronModule(layer, finding.name, weight_name=finding.weight_name)
            module.training = layer.training
            _replace(self.model, finding.path, module)
        module.pattern = self.recipe.pattern
        module.keep(self)
        return module

    def _growth_is_next(self) -> bool:
        step = self.steps + 1
        return self.recipe.method == "rigl" and self.timeline.rewires(step) and self.timeline.drop(step) > 0

    def _before_step(self) -> None:
        self._stepping = True

    def _after_step(self) -> None:
        found_inf = getattr(self.optimizer, "found_inf", None)  # a fused optimizer that GradScaler made skip its step
        if found_inf is not None and found_inf.item():
            return
        for layer in self._layers:
            layer.module.apply_mask()
        if not self._stepping:  # a subclass' step that called super().step(), which was counted: torch hooks both
            return
        self._stepping = False
        self.steps += 1
        self._follow_schedule()

    def _follow_schedule(self) -> None:
        if not self.timeline.rewires(self.steps):
            return
        if self.steps == self.timeline.switch:
            regroup(self.orders.found)
        layers = [self._topology(layer, self._growth(layer)) for layer in self._layers]
        for members, budget in self._budgets(layers):
            self._rewire(members, [layers[index] for index in members], budget)
        self._forget_gradients()
        logger.debug("step %d: density %.4f", self.steps, self.density())

    def _divided(self) -> list[Pool]:
        if self._spending is not None:
            return self._spending.pools([self._topology(layer) for layer in self._layers])
        assert self.recipe.sparsity is not None  # a recipe without a budget has one
        shapes = [layer.module.outputs_first for layer in self._layers]
        return pools(self.recipe.distribution, shapes, 1 - self.recipe.sparsity)

    def _budgets(self, layers: list[Topology]) -> list[tuple[tuple[int, ...], int]]:
        """Which layers share how many active weights or slots after this step."""
        progress = self.timeline.progress(self.steps)
        if self._spending is not None:
            return [((index,), budget) for index, budget in enumerate(self._spending.budgets(layers, progress))]
        return [(pool.layers, pool.budget(progress)) for pool in self._pools]

    def _rewire(self, members: tuple[int, ...], layers: list[Topology], budget: int) -> None:
        masks = rewire(layers, self.recipe.pattern, budget, self.timeline.drop(self.steps))
        for index, mask in zip(members, masks, strict=True):
            module = self._layers[index].module
            module.set_mask(module.from_matrix(mask), "d")

    def _topology(self, layer: _Layer, growth: Tensor | None = None) -> Topology:
        module = layer.module
        in_slots = self.recipe.budget is not None and self.recipe.budget.counts_slots
        return Topology(module.weight_matrix(), module.to_matrix(module.mask), growth, module.groups, in_slots)

    def _growth(self, layer: _Layer) -> Tensor | None:
        module = layer.module
        if self.recipe.method == "set" and module.weight.requires_grad:
            at_random = torch.rand(module.mask.shape, generator=self._generator).to(module.mask.device)
            return module.to_matrix(at_random)
        return module.to_matrix(layer.dense_gradient) if layer.dense_gradient is not None else None

    def _forget_gradients(self) -> None:
        for layer in self._layers:
            layer.dense_gradient = None


def _replace(model: nn.Module, plain_path: str, module: nn.Module) -> None:
    parent, _, child = plain_path.rpartition(".")
    setattr(plain_layer(model.get_submodule(parent)), child, module)  # a dendritic parent only hands on its attributes


def _named_dendritic(model: nn.Module) -> dict[str, PAINeuronModule]:
    """The wrapped layers by the names that findings have."""
    return {
        plain_name(name_of_weight(place.plain_path, place.module.weight_name)): place.module
        for place in places(model)
        if isinstance(place.module, PAINeuronModule)
    }


def _difference(theirs: Any, ours: Any) -> str:
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{theirs!r} where this run has {ours!r}"
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return "; ".join(f"{name}: {theirs.get(name)!r} where this run has {ours.get(name)!r}" for name in names[:3])
