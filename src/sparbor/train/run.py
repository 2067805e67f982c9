"""A run of sparse training while it goes on: what follows from what its optimizer and its layers tell."""

import logging
from statistics import mean
from typing import Any

from torch import Tensor, nn
from torch.optim import LBFGS
from torch.utils.hooks import RemovableHandle

from sparbor.allocation.aims import standing
from sparbor.distributed.ranks import fingerprint, is_distributed, together, values_of_all, world_size
from sparbor.errors import ArgumentError, StateError, TrainingError
from sparbor.nn.masked_layer import MaskedLayer
from sparbor.nn.masks import Mover
from sparbor.nn.named_layers import plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.state_dicts import refuse_other_state
from sparbor.nn.trained_layer import TrainedLayer, average_gradients
from sparbor.recipe.recipe import Recipe
from sparbor.train.grower import Grower
from sparbor.train.learning_rates import LearningRates
from sparbor.train.optimizer_state import CompactStates, replace_parameter, reset_state
from sparbor.train.other_optimizers import OtherOptimizers
from sparbor.train.permute_neurons import orders_for
from sparbor.train.plan import Plan
from sparbor.train.plateau import checked_score
from sparbor.train.rewiring import Rewiring
from sparbor.train.sparse_lr import SparseLR

STATE_VERSION = 2

logger = logging.getLogger("sparbor")


class SparseRun:
    """Carries a plan out through the optimizer's hooks.

    It is the :class:`sparbor.nn.masked_layer.MaskController` of its layers: it keeps dropped weights at zero in the
    optimizer's eyes too. ``steps``: how many the optimizer has done.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.steps = 0
        self._stepping = False
        self._other_optimizers = OtherOptimizers(plan.finished, plan.total_steps)
        self.rewiring = Rewiring(plan)
        self.wrapped = [TrainedLayer(finding.name, plan.wrap(finding, self)) for finding in plan.taken]
        self.grower = Grower(plan, self.wrapped, self) if plan.recipe.growth is not None else None
        plan.allocator.divide(self.layers)
        self.orders = orders_for(plan)
        # LBFGS has searched for the length of its steps.
        exponent = 0.0 if isinstance(plan.optimizer, LBFGS) else plan.recipe.lr_density_exponent
        self._rates = LearningRates(plan.optimizer, plan.settled)
        self._sparse_lr = SparseLR(exponent, self._rates)
        self._compact_states = CompactStates(self.modules) if plan.storage == "compact" else None
        self._hooks = self._hook_up()

    @property
    def layers(self) -> list[TrainedLayer]:
        """The wrapped layers, and those of the dendrites that have grown."""
        return self.wrapped + (self.grower.layers if self.grower else [])

    def modules(self) -> list[PAINeuronModule]:
        """The modules of all of them."""
        return [layer.module for layer in self.layers]

    def _hook_up(self) -> list[RemovableHandle]:
        optimizer, model = self.plan.optimizer, self.plan.model
        hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(lambda *_: self._after_step()),
            self.orders.batch.hook,
        ]
        if self._compact_states is not None:
            hooks += self._compact_states.hook_up(optimizer)
        # Whatever part of the model is loaded, a state dict is refused before the first of its layers is changed.
        return hooks + [
            module.register_load_state_dict_pre_hook(refuse_other_state)  # type: ignore[no-untyped-call]
            for module in model.modules()
            if not isinstance(module, PAINeuronModule)
            and any(isinstance(part, PAINeuronModule) for part in module.modules())
        ]

    def detach(self) -> None:
        """Take all hooks away; the layers stay wrapped and mask their weights themselves from now on."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        if hooks:  # every layer that is released calls this again
            for module in (part for layer in self.wrapped for part in layer.module.modules()):
                if isinstance(module, PAINeuronModule) and module.controller is self:  # dendrites have such, too
                    module.release()

    # What the optimizer tells.

    def _before_step(self, *_: Any) -> None:
        self._stepping = True
        self.orders.stop_listening()
        self._other_optimizers.stepped()
        if self._compact_states is not None:
            self._compact_states.before_step(self.plan.optimizer)
        self._rates.see()
        self._sparse_lr.before_step(self.modules())

    def _after_step(self) -> None:
        self._sparse_lr.after_step()
        # A fused optimizer that GradScaler made skip its step.
        found_inf = getattr(self.plan.optimizer, "found_inf", None)
        if found_inf is not None and found_inf.item():
            return
        for module in self.modules():
            module.apply_mask()
        if not self._stepping:  # a subclass' step that called super().step(), which was counted: torch hooks both
            return
        self._stepping = False
        if self.needs_gradient():
            average_gradients(self.layers)
        self.steps += 1
        self._rates.check_falls_in_time(self.steps)
        self.follow_schedule()

    # What the layers tell.

    def backward_came(self, layer: MaskedLayer) -> None:
        """A weight must not have changed much since the last step."""
        if not self._stepping:  # what a closure does within a step is the optimizer's doing
            self._other_optimizers.backward_came(layer, self.steps)

    def gradient_came(self, layer: MaskedLayer, gradient: Tensor) -> None:
        """Growth needs the gradient of inactive weights."""
        if self.needs_gradient():
            next(each for each in self.layers if each.module is layer).add_gradient(gradient)

    def needs_gradient(self) -> bool:
        """Whether something grows after the step that comes now, where the dense gradient is largest."""
        step = self.steps + 1
        return self.rewiring.needs_gradient(step) or (self.grower is not None and self.grower.is_due(step))

    def parameter_replaced(self, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
        """The optimizer goes on with the new one."""
        self._check_held(old)
        replace_parameter(self.plan.optimizer, old, new, move)

    def mask_changed(self, layer: MaskedLayer, changed: Tensor) -> None:
        """What was born or died starts afresh in the optimizer."""
        self._check_held(layer.parameter)
        reset_state(self.plan.optimizer, layer.parameter, changed)

    def _check_held(self, weight: nn.Parameter) -> None:
        groups = self.plan.optimizer.param_groups
        if not any(each is weight for group in groups for each in group["params"]):
            name = next(layer.name for layer in self.layers if layer.module.parameter is weight)
            raise StateError(
                f"layer {name!r} has a new parameter as its weight, which the optimizer does not hold: keep the old "
                "one and copy the new values into it, layer.weight.data.copy_(values)"
            )

    def unfinished(self) -> str | None:
        """Why the layers are denser still than the recipe wants them, and what to do; ``None`` if they are not."""
        now, ramp_end = standing(self.modules()), self.plan.timeline.ramp_end
        if self.steps >= ramp_end or not now.too_dense:
            return None
        return (
            f"the dendritic layers keep {now}: {self.steps:,} of {self.plan.total_steps:,} steps are done, and the"
            f" final density is reached at step {ramp_end:,}; train on, or pass the total_steps that the loop really"
            " takes to sparbor.perforate()"
        )

    # What follows.

    def follow_schedule(self) -> None:
        """Do what is to be done after so many steps."""
        timeline = self.plan.timeline
        if self.steps == timeline.switch:
            # Anew, from the weights that there are now: the run may have been resumed.
            self.plan.allocator.divide(self.layers)
        if self.steps + 1 == timeline.reorders:
            self.orders.look()
        if self.steps == timeline.reorders:
            self.orders.choose()
        if self.grower:
            self._grow_if_due(self.grower)
        if timeline.rewires(self.steps):
            self.rewiring.rewire_all(self.layers, self.steps)
            logger.debug("step %d: density %.4f", self.steps, self.density())
        elif not (self.grower and self.grower.grown_at == self.steps):
            return
        self._forget_gradients()
        with together(TrainingError, "start every rank from the same weights and give it the same optimizer") as facts:
            facts |= self._position()

    def density(self) -> float:
        """Active weights, those of dendrites too, over all weights of the wrapped layers."""
        active = sum(layer.module.active_weights() for layer in self.layers)
        return active / sum(layer.module.mask.numel() for layer in self.wrapped)

    def validate(self, score: float) -> None:
        """A validation score has come, on every rank."""
        if self.grower is None:
            checked_score(score)
            return
        with together(ArgumentError, "validate after the same steps on every rank") as facts:
            score = checked_score(score)
            facts["steps"] = self.steps
        if self.grower.validate(mean(values_of_all(score)), self.steps):
            self._end_trial(self.grower)

    def _grow_if_due(self, grower: Grower) -> None:
        """Grow a generation; in dendrite mode the others make room for it, so that the budget is kept."""
        grower.plateau.check_begun(self.steps)
        if grower.is_due(self.steps) and grower.on_trial:
            self._end_trial(grower)
        if grower.is_due(self.steps):
            newborn = grower.grow(self.steps)
            self.rewiring.grow_into(grower, newborn, self.layers, self.steps)

    def _end_trial(self, grower: Grower) -> None:
        if grower.end_trial(self.steps):
            self._forget_gradients()
            self.plan.allocator.divide(self.layers)

    def _forget_gradients(self) -> None:
        for layer in self.layers:
            layer.forget_gradient()

    def _position(self) -> dict[str, Any]:
        """Where every rank must be; nothing where there is but one, since it takes a while to find out."""
        if not is_distributed():
            return {}
        chosen = [(each.mask, each.neuron_order, each.input_order) for each in self.modules()]
        return {
            "steps": self.steps,
            f"the masks' fingerprint after step {self.steps}": fingerprint(each for three in chosen for each in three),
            "the random generator's fingerprint": fingerprint([self.rewiring.generator.get_state()]),
        }

    # Resuming.

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides the model's and the optimizer's state."""
        return {
            "version": STATE_VERSION,
            "recipe": self.plan.recipe.to_dict(),
            "total_steps": self.plan.total_steps,
            "world_size": world_size(),
            "steps": self.steps,
            "generator": self.rewiring.generator.get_state(),
            "layers": {plain_name(layer.name): list(layer.module.mask.shape) for layer in self.wrapped},
            **({"active_at_first": self.plan.allocator.active} if self.plan.begins_sparse else {}),
            **({"growth": self.grower.state_dict()} if self.grower else {}),
            **({"peak_rates": self._rates.peaks} if self._rates.peaks else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, on every rank."""
        with together(StateError, "load the same checkpoint on every rank") as facts:
            self._take_over(state)
            facts |= self._position()

    def _take_over(self, state: dict[str, Any]) -> None:
        _check_same_run(state, self.state_dict())
        steps, generator = state.get("steps"), state.get("generator")
        if not isinstance(steps, int) or steps < 0 or not isinstance(generator, Tensor):
            raise StateError(f"the state is damaged: steps={steps!r} and a {type(generator).__name__} as generator")
        try:
            self.rewiring.generator.set_state(generator.cpu())
        except (RuntimeError, TypeError) as error:
            raise StateError(f"the state's generator cannot be restored ({error}): it is damaged") from error
        if self.grower:
            self.grower.load_state_dict(state.get("growth"))
        self.plan.allocator.begin_with(state.get("active_at_first", {}), self.wrapped)
        self._rates.peaks = [float(each) for each in state.get("peak_rates", [])]
        self.steps = steps
        self._forget_gradients()


def _check_same_run(state: Any, own: dict[str, Any]) -> None:
    """Refuse a ``state`` of another version, model, recipe, length or world size than the run of ``own``."""
    if not isinstance(state, dict):
        raise StateError(f"the perforator's state is a {type(state).__name__}: pass what state_dict() gave")
    if state.get("version") != STATE_VERSION:
        raise StateError(
            f"perforator state of version {state.get('version')!r}: this release reads version {STATE_VERSION};"
            " resume with the release that wrote it"
        )
    if isinstance(recipe := state.get("recipe"), dict):
        state = {**state, "recipe": Recipe.from_dict(recipe).to_dict()}  # in today's fields, whichever release wrote it
    for part, remedy in (
        ("layers", "load it into the model it was saved from"),
        ("recipe", "pass the recipe it was saved with to sparbor.perforate()"),
        ("total_steps", "pass the total_steps it was saved with to sparbor.perforate()"),
        ("world_size", "start as many processes as it was saved with"),
    ):
        if state.get(part) != own[part]:
            raise StateError(f"the state has other {part} ({_difference(state.get(part), own[part])}): {remedy}")


def _difference(theirs: Any, ours: Any) -> str:
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{theirs!r} where this run has {ours!r}"
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return "; ".join(f"{name}: {theirs.get(name)!r} where this run has {ours.get(name)!r}" for name in names[:3])
