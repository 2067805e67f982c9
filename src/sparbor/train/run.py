"""A run of sparse training while it goes on: what follows from each step of the optimizer."""

import logging
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS
from torch.utils.hooks import RemovableHandle

from sparbor.distributed.ranks import fingerprint, is_distributed, together, values_of_all, world_size
from sparbor.errors import ArgumentError, StateError, TrainingError
from sparbor.nn.named_layers import plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.state_dicts import refuse_other_state
from sparbor.nn.trained_layer import TrainedLayer, average_gradients
from sparbor.train.compaction import CompactStates
from sparbor.train.controller import Controller
from sparbor.train.copies import named_dendritic
from sparbor.train.grower import Grower
from sparbor.train.neuron_orders import orders_for
from sparbor.train.plan import Plan
from sparbor.train.plateau import checked_score
from sparbor.train.resuming import STATE_VERSION, check_same_run
from sparbor.train.rewiring import Rewiring
from sparbor.train.sparse_lr import SparseLR

logger = logging.getLogger("sparbor")


class SparseRun:
    """Carries a plan out through the optimizer's hooks.

    ``steps``: how many the optimizer has done. ``stepping``: whether it is within one.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.steps = 0
        self.stepping = False
        self.controller = Controller(self, plan)
        self.rewiring = Rewiring(plan.recipe, plan.timeline, plan.allocator, sharded=plan.sharded)
        self.wrapped = [TrainedLayer(finding.name, plan.wrap(finding, self.controller)) for finding in plan.taken]
        self.grower = self._make_grower()
        plan.allocator.divide(self.layers)
        self.orders = orders_for(plan.model, plan.recipe, plan.timeline, sharded=plan.sharded)
        # LBFGS has searched for the length of its steps.
        self._sparse_lr = SparseLR(0 if isinstance(plan.optimizer, LBFGS) else plan.recipe.lr_density_exponent)
        self._compact_states = CompactStates(self.modules) if plan.storage == "compact" else None
        self._hooks = self._hook_up()

    @property
    def layers(self) -> list[TrainedLayer]:
        """The wrapped layers, and those of the dendrites that have grown."""
        return self.wrapped + (self.grower.layers if self.grower else [])

    def modules(self) -> list[PAINeuronModule]:
        """The modules of all of them."""
        return [layer.module for layer in self.layers]

    def _make_grower(self) -> Grower | None:
        plan = self.plan
        if plan.recipe.growth is None:
            return None
        names = {finding.name for finding in plan.growing if finding.taken}
        layers = [layer for layer in self.wrapped if f"{layer.name}.dendrites" in names]
        random = torch.Generator().manual_seed(plan.recipe.seed)  # its own: what SET grows does not depend on it
        return Grower(
            plan.recipe.growth,
            plan.model,
            plan.optimizer,
            layers,
            self.controller,
            random,
            plan.total_steps,
            plan.settled,
        )

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
            if not isinstance(module, PAINeuronModule) and named_dendritic(module)
        ]

    def detach(self) -> None:
        """Take all hooks away; the layers stay wrapped and mask their weights themselves from now on."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook.remove()
        if hooks:  # every layer that is released calls this again
            for layer in self.wrapped:
                layer.module.release()
            if self.grower:
                self.grower.release()

    # What the optimizer tells.

    def _before_step(self, *_: Any) -> None:
        self.stepping = True
        self.orders.stop_listening()
        self.controller.step_begins()
        if self._compact_states is not None:
            self._compact_states.before_step(self.plan.optimizer)
        self._sparse_lr.before_step(self.modules())

    def _after_step(self) -> None:
        self._sparse_lr.after_step()
        # A fused optimizer that GradScaler made skip its step.
        found_inf = getattr(self.plan.optimizer, "found_inf", None)
        if found_inf is not None and found_inf.item():
            return
        for module in self.modules():
            module.apply_mask()
        if not self.stepping:  # a subclass' step that called super().step(), which was counted: torch hooks both
            return
        self.stepping = False
        if self.topology_changes_by_gradient():
            average_gradients(self.layers)
        self.steps += 1
        self.follow_schedule()

    def topology_changes_by_gradient(self) -> bool:
        """Whether something grows after the step that comes now, where the dense gradient is largest."""
        step = self.steps + 1
        return self.rewiring.needs_gradient(step) or (self.grower is not None and self.grower.is_due(step))

    # What follows.

    def follow_schedule(self) -> None:
        """Do what is to be done after so many steps."""
        timeline = self.plan.timeline
        if self.steps == timeline.switch:
            # Anew, from the weights that there are now: the run may have been resumed.
            self.plan.allocator.divide(self.layers)
        if self.steps == timeline.reorders:
            self.orders.choose()
        if self.grower and self.grower.follow(self.steps):
            self._grow(self.grower)
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

    def _grow(self, grower: Grower) -> None:
        """Grow a generation; in dendrite mode the others make room for it, so that the budget is kept."""
        if grower.on_trial:
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
            **({"growth": self.grower.state_dict()} if self.grower else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, on every rank."""
        with together(StateError, "load the same checkpoint on every rank") as facts:
            self._take_over(state)
            facts |= self._position()

    def _take_over(self, state: dict[str, Any]) -> None:
        check_same_run(state, self.state_dict())
        steps, generator = state.get("steps"), state.get("generator")
        if not isinstance(steps, int) or steps < 0 or not isinstance(generator, Tensor):
            raise StateError(f"the state is damaged: steps={steps!r} and a {type(generator).__name__} as generator")
        try:
            self.rewiring.generator.set_state(generator.cpu())
        except (RuntimeError, TypeError) as error:
            raise StateError(f"the state's generator cannot be restored ({error}): it is damaged") from error
        if self.grower:
            self.grower.load_state_dict(state.get("growth"))
        self.steps = steps
        self._forget_gradients()
