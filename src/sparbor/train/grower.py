"""Runs a recipe's growth on a model: makes dendrites, grows them in time or on plateaus, keeps or takes back."""

import copy
import itertools
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from sparbor.errors import StateError
from sparbor.nn.dendrites import Dendrite, Dendrites
from sparbor.nn.masked_layer import MaskController
from sparbor.nn.trained_layer import TrainedLayer
from sparbor.recipe.pattern import Pattern
from sparbor.topology.rewire import scores_of
from sparbor.topology.units import select, units_of
from sparbor.train.optimizer_state import group_of
from sparbor.train.plan import Plan
from sparbor.train.plateau import Plateau

logger = logging.getLogger("sparbor")


@dataclass(frozen=True)
class GrowthEvent:
    """What became of a generation after ``step``; ``score`` is the best validation score known then."""

    step: int
    generation: int
    what: Literal["grown", "kept", "rolled back"]
    score: float | None


class Grower:
    """Grows the dendrites of the layers that a recipe's :class:`Growth` names.

    All that may ever grow is made at once and joins the optimizer's group of the layer's own weight, so that
    schedulers, averages, compiled models and state dicts know it from the start; what has not grown has no gradient,
    which optimizers skip.
    """

    def __init__(self, plan: Plan, layers: Sequence[TrainedLayer], controller: MaskController) -> None:
        assert plan.recipe.growth is not None  # else there is nothing to do here
        self.growth = plan.recipe.growth
        self.plan = plan
        self.events: list[GrowthEvent] = []
        self.plateau = Plateau(self.growth, plan.total_steps, plan.settled)
        self.finished = False  # something was rolled back: nothing more is grown
        self.grown_at = 0
        self.snapshot: dict[str, Any] | None = None
        self._dendrites: list[Dendrites] = []
        self._generations: list[list[TrainedLayer]] = [[] for _ in range(self.growth.generations)]
        self._parents: dict[str, TrainedLayer] = {}
        random = torch.Generator().manual_seed(plan.recipe.seed)  # its own: what SET grows does not depend on it
        names = {finding.name for finding in plan.growing if finding.taken}
        for layer in layers:
            if f"{layer.name}.dendrites" in names:
                self._make(layer, controller, random)

    # What there is.

    @property
    def generation(self) -> int:
        """How many generations have grown."""
        return self._dendrites[0].count

    @property
    def layers(self) -> list[TrainedLayer]:
        """The sparse layers of all dendrites that have grown."""
        return list(itertools.chain(*self._generations[: self.generation]))

    def _make(self, layer: TrainedLayer, controller: MaskController, random: torch.Generator) -> None:
        made = [Dendrite(layer.module, number, random) for number in range(self.growth.generations)]
        dendrites = Dendrites(made)
        self._dendrites.append(dendrites)
        layer.module.dendrites = dendrites
        for number, dendrite in enumerate(made):
            for module in dendrite.layers():
                module.keep(controller)
                name = f"{layer.name}.dendrites.{number}.{'earlier' if module is dendrite.earlier else 'inputs'}"
                self._generations[number].append(TrainedLayer(name, module, grown=True))
                self._parents[name] = layer
        named = {f"{layer.name}.dendrites.{name}": each for name, each in dendrites.named_parameters()}
        _join_group(self.plan.optimizer, layer.module.parameter, named)

    # Growing.

    def is_due(self, step: int) -> bool:
        """Whether a generation is to be grown after ``step``."""
        if self.finished or self.generation == self.growth.generations:
            return False
        if self.growth.at is None:
            return self.plateau.seen and self.plateau.leaves_time(step)
        return step >= self.growth.births(self.plan.total_steps)[self.generation]

    def grow(self, step: int) -> list[TrainedLayer]:
        """Let the next generation compute; its sparse layers, of which no synapse has been chosen yet."""
        if self.plateau.best is not None:
            self.snapshot = {
                "model": copy.deepcopy(self.plan.model.state_dict()),
                "optimizer": copy.deepcopy(self.plan.optimizer.state_dict()["state"]),
            }
            self.plateau.begin_trial()
        self.grown_at = step
        generation = self.generation
        for dendrites in self._dendrites:
            dendrites.grow_to(generation + 1)
        self._note(step, generation, "grown")
        return self._generations[generation]

    @torch.no_grad()
    def choose_synapses(self, layer: TrainedLayer, pattern: Pattern, budget: int, random: torch.Generator) -> None:
        """The first synapses of a new dendrite: where its neurons' own dense gradient is largest, else at random."""
        module, gradient = layer.module, self._parents[layer.name].dense_gradient
        if gradient is None or gradient.shape != module.mask.shape:
            gradient = torch.rand(module.mask.shape, generator=random).to(module.mask.device)
        score = scores_of(module.to_matrix(gradient), pattern)
        density = budget / module.mask.numel()
        (mask,) = select([units_of(pattern, score, density, module.groups, module.input_row)], budget)
        module.set_mask(module.from_matrix(mask), "d")
        if module.active_weights():  # with fewer inputs each weighs more: the sum varies as that of all would
            module.parameter.mul_((module.mask.numel() / module.active_weights()) ** 0.5)

    # Judging.

    @property
    def on_trial(self) -> bool:
        """Whether the latest generation may still be rolled back."""
        return self.plateau.bar is not None

    def validate(self, score: float, step: int) -> bool:
        """A validation score has come; whether a trial is to be ended now."""
        if self.generation > 0 and step == self.grown_at:  # no neuron has learned to hear what is new
            if self.on_trial:
                self.plateau.begin_trial(score)  # but it is a score of what was before
            return False
        self.plateau.add(score, step)
        return self.plateau.decided(step)

    def end_trial(self, step: int) -> bool:
        """Keep the generation on trial if its scores say so; whether it was rolled back."""
        generation, best = self.generation - 1, max(self.plateau.trial + self.plateau.scores)
        kept = self.plateau.end_trial()
        snapshot, self.snapshot = self.snapshot, None
        if not kept:
            assert snapshot is not None  # made when the trial began
            self._roll_back(snapshot)
        self._note(step, generation, "kept" if kept else "rolled back", best)
        return not kept

    def _roll_back(self, snapshot: dict[str, Any]) -> None:
        self.finished = True
        newborn = self._generations[self.generation - 1]
        self.plan.model.load_state_dict(snapshot["model"])
        # The groups stay as they are: their learning rates follow the run's own schedule.
        groups = self.plan.optimizer.state_dict()["param_groups"]
        self.plan.optimizer.load_state_dict({"state": snapshot["optimizer"], "param_groups": groups})
        for dendrite in (each for dendrites in self._dendrites for each in dendrites.generations()[dendrites.count :]):
            dendrite.zero_grad()
        for layer in newborn:
            layer.forget_gradient()

    def _note(self, step: int, generation: int, what: Any, score: float | None = None) -> None:
        self.events.append(GrowthEvent(step, generation, what, self.plateau.best if score is None else score))
        logger.info("step %d: generation %d of dendrites %s", step, generation, what)

    # Resuming.

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs besides the model's and the optimizer's state; on trial, what a rollback needs."""
        return {
            "plateau": self.plateau.state_dict(),
            "finished": self.finished,
            "grown_at": self.grown_at,
            "events": [asdict(event) for event in self.events],
            "snapshot": copy.deepcopy(self.snapshot),
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on where :meth:`state_dict` was taken."""
        try:
            events = [GrowthEvent(**event) for event in state["events"]]
            finished, grown_at = bool(state["finished"]), int(state["grown_at"])
            snapshot = copy.deepcopy(state["snapshot"])
            self.plateau.load_state_dict(state["plateau"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"the state is damaged: its growth cannot be read ({error!r})") from error
        self.events, self.grown_at, self.finished, self.snapshot = events, grown_at, finished, snapshot


def _join_group(optimizer: Optimizer, beside: nn.Parameter, named: dict[str, nn.Parameter]) -> None:
    """Add parameters to the group that holds ``beside``."""
    group = group_of(optimizer, beside)
    group["params"].extend(named.values())
    if "param_names" in group:
        group["param_names"].extend(named)
    if isinstance(optimizer, torch.optim.Adagrad):  # the one that makes its state before the first step
        for parameter in named.values():
            start = torch.full_like(parameter, group["initial_accumulator_value"])
            optimizer.state[parameter] = {"step": torch.tensor(0.0), "sum": start}
