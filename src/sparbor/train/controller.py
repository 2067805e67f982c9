"""What the layers of a run tell of while it goes on, and what its optimizer is told of that."""

from typing import Protocol

from torch import Tensor, nn

from sparbor.allocation.aims import standing
from sparbor.errors import StateError
from sparbor.nn.active_weights import Mover
from sparbor.nn.masked_layer import MaskedLayer
from sparbor.nn.trained_layer import TrainedLayer
from sparbor.train.optimizer_state import holds, replace_parameter, reset_state
from sparbor.train.other_optimizers import OtherOptimizers
from sparbor.train.plan import Plan


class Run(Protocol):
    """What a controller has to know of its run."""

    steps: int
    stepping: bool

    @property
    def layers(self) -> list[TrainedLayer]:
        """Those that are sparse or become it."""

    def topology_changes_by_gradient(self) -> bool:
        """Whether something grows after the step that comes now, where the dense gradient is largest."""

    def detach(self) -> None:
        """End it."""


class Controller:
    """The :class:`MaskController` of a run's layers: it keeps dropped weights at zero in the optimizer's eyes too."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._other_optimizers = OtherOptimizers(plan.finished, plan.total_steps)

    def step_begins(self) -> None:
        """The optimizer is about to change the weights."""
        self._other_optimizers.stepped()

    def backward_came(self, layer: MaskedLayer) -> None:
        """A weight must not have changed much since the last step."""
        if not self._run.stepping:  # what a closure does within a step is the optimizer's doing
            self._other_optimizers.backward_came(layer, self._run.steps)

    def gradient_came(self, layer: MaskedLayer, gradient: Tensor) -> None:
        """Growth needs the gradient of inactive weights."""
        if self._run.topology_changes_by_gradient():
            next(each for each in self._run.layers if each.module is layer).add_gradient(gradient)

    def needs_gradient(self, layer: MaskedLayer) -> bool:
        """Growth after the step that comes needs the dense gradient."""
        return self._run.topology_changes_by_gradient()

    def parameter_replaced(self, old: nn.Parameter, new: nn.Parameter, move: Mover) -> None:
        """The optimizer goes on with the new one."""
        self._check_held(old)
        replace_parameter(self._plan.optimizer, old, new, move)

    def mask_changed(self, layer: MaskedLayer, changed: Tensor) -> None:
        """What was born or died starts afresh in the optimizer."""
        self._check_held(layer.parameter)
        reset_state(self._plan.optimizer, layer.parameter, changed)

    def unfinished(self) -> str | None:
        """Why the layers are denser still than the recipe wants them, and what to do; ``None`` if they are not."""
        now, ramp_end = standing(layer.module for layer in self._run.layers), self._plan.timeline.ramp_end
        steps, total = self._run.steps, self._plan.total_steps
        if steps >= ramp_end or not now.too_dense:
            return None
        return (
            f"the dendritic layers keep {now}: {steps:,} of {total:,} steps are done, and the"
            f" final density is reached at step {ramp_end:,}; train on, or pass the total_steps that the loop really"
            " takes to sparbor.perforate()"
        )

    def detach(self) -> None:
        """A layer has been released, and so are all others."""
        self._run.detach()

    def _check_held(self, weight: nn.Parameter) -> None:
        if not holds(self._plan.optimizer, weight):
            name = next(layer.name for layer in self._run.layers if layer.module.parameter is weight)
            raise StateError(
                f"layer {name!r} has a new parameter as its weight, which the optimizer does not hold: keep the old "
                "one and copy the new values into it, layer.weight.data.copy_(values)"
            )
