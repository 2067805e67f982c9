"""Tensors of which each rank holds a part, as ``torch.distributed.fsdp.fully_shard`` leaves a model's weights.

A shard may end within a block of neurons, or within a layer's only block. So a mask is chosen from the whole weight,
every rank has the whole mask, and uses of it what lies on the part of the weight that the rank holds. A tensor that
is not sharded is its own whole and its own part.
"""

from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparbor.errors import ArgumentError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether other ranks may hold other parts of it."""
    if not (dist.is_available() and dist.is_initialized()):
        return False
    from torch.distributed.tensor import DTensor  # a second's import that no other training needs

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """All of it, gathered from the ranks, each of which must ask for it."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def held(tensor: Tensor) -> Tensor:
    """The part that this rank holds; what is done to it in place is done to ``tensor``."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def held_part(values: Tensor, like: Tensor) -> Tensor:
    """Of ``values``, whole on every rank, those that lie on the part of ``like`` that this rank holds."""
    if not is_sharded(like):
        return values
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(values, like.device_mesh, like.placements, src_data_rank=None).to_local()


def all_true(weight: Tensor) -> Tensor:
    """A mask of the whole ``weight``, on every rank, that keeps everything."""
    if is_sharded(weight):
        return torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
    return torch.ones_like(weight, dtype=torch.bool)


def reshard(model: nn.Module) -> bool:
    """Make the model's parameters its shards, not what a forward pass has gathered; whether it has shards.

    Raises:
        ArgumentError: it is sharded in a way in which masks cannot follow its weights.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return False
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
    from torch.distributed.tensor import Replicate, Shard

    for module in model.modules():
        if isinstance(module, FullyShardedDataParallel):
            raise ArgumentError(
                "the model is wrapped in FullyShardedDataParallel, which flattens its weights: shard it with"
                " torch.distributed.fsdp.fully_shard"
            )
        if isinstance(module, FSDPModule):
            module.reshard()
    sharded = [(name, each) for name, each in model.named_parameters() if is_sharded(each)]
    for name, parameter in sharded:
        for placement in parameter.placements:
            if type(placement) not in (Shard, Replicate):
                raise ArgumentError(
                    f"parameter {name!r} is placed as {placement}: shard the model by fully_shard alone, without tensor"
                    " parallelism"
                )
    return bool(sharded)
