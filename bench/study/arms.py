"""The arms of the accuracy study: each is what it differs in from the dense one, and nothing else.

All arms of a seed see the same batches for the same number of epochs. ``slots`` is the product's default recipe for
the task; the other sparse arms are that recipe with one thing changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from bench.job.arms import Arm
from bench.job.job import Job
from bench.study import perforatedai_arm
from bench.study.small_dense import network_widths, small_dense
from sparbor.lower.chains import Chains, chains
from sparbor.recipe.pattern import NM, Quads, Unstructured
from sparbor.recipe.recipe import Recipe
from sparbor.topology.rewire import magnitude_mask
from sparbor.train.permute_neurons import permute_neurons

# To be raised when training computes something else by the same settings, be it by a rounding: training_fingerprints.py
# and a test notice. Sparse layers are computed by their synapses alone since revision 2.
DENSE_REVISION = 1
SPARSE_REVISION = 2

FIRST_CONVOLUTIONS = ("conv1",)  # rigid N:M is customarily spared them; 0.04 % of the CNN's weights


@dataclass(frozen=True)
class ArmDefinition:
    """``recipe`` makes it sparse; ``network`` replaces the task's; ``prepare`` changes the arm before its first step.

    ``learning_rate`` is a factor. ``sparsity`` is the only one that the arm has; ``None`` lets it have any.
    ``after_epoch`` may change the arm between epochs. ``active_parameters`` counts them where masks do not tell.
    ``package`` has to be installed for it. Arms with ``deploys`` run on the engine too.
    """

    recipe: Callable[[Job], Recipe] | None = None
    learning_rate: float = 1.0
    network: Callable[[Job], nn.Module] | None = None
    prepare: Callable[[Arm, Job], None] | None = None
    after_epoch: Callable[[Arm, Job], None] | None = None
    active_parameters: Callable[[nn.Module], int] | None = None
    sparsity: float | None = None
    package: str | None = None
    deploys: bool = True

    @property
    def revision(self) -> int:
        """Of what training computes by these settings: rows of an earlier one are not mixed with those of today."""
        return DENSE_REVISION if self.recipe is None else SPARSE_REVISION

    @property
    def installed(self) -> bool:
        """Whether it can be trained here."""
        return self.package is None or find_spec(self.package) is not None

    @property
    def starts_as_dense(self) -> bool:
        """Whether its first steps are those of the dense arm."""
        return self.network is None and self.prepare is None and self.learning_rate == 1

    def settings(self, job: Job) -> dict[str, Any]:
        """All that its accuracy depends on, beside the job: plain data, for its rows."""
        return {
            "learning_rate": job.learning_rate,
            "recipe": self.recipe(job).to_json() if self.recipe else None,
            "network": network_widths(self.network(job)) if self.network else None,
            "prepared": self.prepare.__name__ if self.prepare else None,
            "revision": self.revision,
        }


def unstructured(job: Job) -> Recipe:
    """All as for slots, but for the pattern: what the pattern costs."""
    return replace(job.recipe(), pattern=Unstructured())


def quads(job: Job) -> Recipe:
    """All as for slots, but for the pattern, which is that of 8-bit layers."""
    return replace(job.recipe(), pattern=Quads())


def published_rigl(job: Job) -> Recipe:
    """Evci et al. 2020: ERK, at first three tenths exchanged, steps as the optimizer takes them."""
    schedule = replace(job.recipe().schedule, drop_fraction=0.3)
    return Recipe(job.sparsity, "rigl", Unstructured(), "erk", schedule, lr_density_exponent=0)


def gradual_magnitude(job: Job) -> Recipe:
    """Zhu & Gupta 2017: weights are only dropped, each by itself, equally many in every layer."""
    return Recipe(job.sparsity, "magnitude", Unstructured(), "uniform", job.recipe().schedule, lr_density_exponent=0)


def rigid_nm(job: Job) -> Recipe:
    """The same number of weights in every window of 32 inputs."""
    exclude = FIRST_CONVOLUTIONS if job.dataset == "cifar10" else ()
    return replace(job.recipe(), pattern=NM(3, 32), distribution="uniform", exclude=exclude)


def never_dense(job: Job) -> Recipe:
    """One mask from the first step to the last."""
    recipe = job.recipe()
    return replace(recipe, method="static", distribution="erk", schedule=replace(recipe.schedule, warmup=0.0))


def uniform_slots(job: Job) -> Recipe:
    """Every layer at the same sparsity."""
    return replace(job.recipe(), distribution="uniform")


def erk_slots(job: Job) -> Recipe:
    """Layers as dense as ERK has them."""
    return replace(job.recipe(), distribution="erk")


def rewired_slots(job: Job) -> Recipe:
    """RigL with slots."""
    return replace(job.recipe(), method="rigl")


def slots_with_plain_steps(job: Job) -> Recipe:
    """Steps as the optimizer takes them."""
    return replace(job.recipe(), lr_density_exponent=0.0)


def slots_with_longer_steps(job: Job) -> Recipe:
    """Steps longer by the root of the density."""
    return replace(job.recipe(), lr_density_exponent=0.5)


def slots_with_full_steps(job: Job) -> Recipe:
    """Steps as long as maximal update parameterization has them."""
    return replace(job.recipe(), lr_density_exponent=1.0)


def grown_slots(job: Job) -> Recipe:
    """One generation of dendrites, grown at the switch, within the same number of synapses."""
    return replace(job, dendrites=1).recipe()


def keep_order(arm: Arm, job: Job) -> None:
    """Leave neurons in the groups that they happen to be in."""
    assert arm.perforator is not None
    arm.perforator.orders.settle(Chains())


@torch.no_grad()
def random_masks(arm: Arm, job: Job) -> None:
    """Draw a perforated arm's slots by lot, as many in each layer, with the weights that the dense arm starts with."""
    assert arm.perforator is not None
    torch.manual_seed(job.seed)
    initial = dict(job.task.build().named_modules())  # the lots come after it: with its numbers they would go by weight
    densities = {name: m.active_weights() / m.mask.numel() for name, m in arm.perforator.modules.items()}
    for name, module in arm.perforator.modules.items():
        module.set_mode("n")
        module.parameter.copy_(initial[name].weight)
    # Its synapses are chosen before a batch has shown whose neurons may be put in order: an image does.
    permute_neurons(chains(arm.model, (torch.zeros(2, *job.task.image_shape),)).found)
    for name, module in arm.perforator.modules.items():
        lots = torch.rand(module.weight_matrix().shape)
        mask = magnitude_mask(lots, module.pattern, densities[name], module.groups, module.input_row)
        module.set_mask(module.from_matrix(mask))


ARMS = {
    "dense": ArmDefinition(sparsity=0.0),
    "dense-half-rate": ArmDefinition(sparsity=0.0, learning_rate=0.5),
    "dense-double-rate": ArmDefinition(sparsity=0.0, learning_rate=2.0),
    "small-dense": ArmDefinition(network=small_dense),
    "static-random": ArmDefinition(recipe=never_dense, prepare=random_masks),
    "magnitude": ArmDefinition(recipe=gradual_magnitude),
    "nm": ArmDefinition(recipe=rigid_nm, sparsity=1 - 3 / 32),
    "unstructured": ArmDefinition(recipe=unstructured),
    "rigl": ArmDefinition(recipe=published_rigl),
    "slots": ArmDefinition(recipe=Job.recipe),
    "quads": ArmDefinition(recipe=quads),
    "slots-uniform": ArmDefinition(recipe=uniform_slots),
    "slots-erk": ArmDefinition(recipe=erk_slots),
    "slots-rigl": ArmDefinition(recipe=rewired_slots),
    "slots-plain-steps": ArmDefinition(recipe=slots_with_plain_steps),
    "slots-longer-steps": ArmDefinition(recipe=slots_with_longer_steps),
    "slots-full-steps": ArmDefinition(recipe=slots_with_full_steps),
    "slots-in-order": ArmDefinition(recipe=Job.recipe, prepare=keep_order),
    "slots-grown": ArmDefinition(recipe=grown_slots),
    "perforatedai": ArmDefinition(
        prepare=perforatedai_arm.perforated_every_second_epoch,
        after_epoch=perforatedai_arm.validate,
        active_parameters=perforatedai_arm.computing_parameters,
        sparsity=0.0,
        package="perforatedai",
        deploys=False,
    ),
}

FIELDS_ADDED_TO_RECIPES: dict[str, Any] = {}
"""What a field that recipes have gained since older rows were measured was, in effect, then: ``{"schedule.x": 1}``.

Rows without the field count as having this value, so that they stay valid where it is today's as well.
"""

FIELDS_TAKEN_FROM_RECIPES: dict[str, Any] = {"growth.training": "gradient", "growth.cascade": 0.03}
"""Fields that recipes no longer have, and the value at which each meant what leaving it out means today.

Rows that hold these values stay valid; rows with any other value are stale.
"""
