"""What several ranks that train one model must have in common, and which recipes they can run."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from sparbor.allocation.survey import LayerEligibility
from sparbor.distributed.shards import reshard
from sparbor.errors import ArgumentError
from sparbor.nn.named_layers import plain_name
from sparbor.recipe.recipe import Recipe


def module_within(model: nn.Module) -> nn.Module:
    """The model that a ``DistributedDataParallel`` holds; layers are called what they are in one process."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def check_runnable(model: nn.Module, recipe: Recipe) -> bool:
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


def facts_of(
    recipe: Recipe, total_steps: int, optimizer: Optimizer, findings: Sequence[LayerEligibility]
) -> dict[str, Any]:
    """What must be the same on every rank before training begins."""
    return {
        "total_steps": total_steps,
        "optimizer": type(optimizer).__name__,
        **{f"the recipe's {name}": value for name, value in recipe.to_dict().items()},
        **{f"layer {plain_name(each.name)!r}": _described(each) for each in findings},
    }


def _described(finding: LayerEligibility) -> str:
    fate = "dendritic" if finding.taken else f"not dendritic ({finding.reason})"
    return f"{finding.kind} of {finding.weights} parameters, {fate}"
