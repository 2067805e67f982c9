"""Weight norm under a mask: the weight is computed as ``w = g * v / |v|``, and ``v`` is what the mask lies on.

Where the direction ``v`` is zero the weight is zero too, so such a layer is masked, rewired and kept at zero as any
other, with ``v`` for its parameter. Two things differ. A neuron of which every weight has been dropped has ``|v| = 0``,
for which PyTorch computes NaN, and here the weight is zero. And weights that stay would become larger when others are
dropped, because ``|v|`` becomes smaller: the length ``g`` is scaled with it, so that they stay as they are.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm


class Normed(NamedTuple):
    """Where a layer keeps what its weight is computed of; ``norm`` is PyTorch's object that computes it.

    ``dim``: the one dimension of the weight along which it has a length each; -1 if it has but one for all.
    """

    norm: Any
    direction: str
    length: str
    dim: int

    def parts(self, layer: nn.Module) -> tuple[Tensor, Tensor]:
        """Direction and length as they are now."""
        holder, _, name = self.direction.rpartition(".")
        within = layer.get_submodule(holder)
        return cast(Tensor, getattr(within, name)), cast(Tensor, getattr(within, self.length.rpartition(".")[2]))


def norm_of(layer: nn.Module) -> Normed | None:
    """The layer's weight norm, by either of PyTorch's functions, if ``weight`` is computed by that and nothing else."""
    lists: Any = layer._modules.get("parametrizations")
    if lists is not None and "weight" in lists:
        steps = lists["weight"]
        if len(steps) == 1 and isinstance(steps[0], _WeightNorm):
            path = "parametrizations.weight.original"
            return Normed(steps[0], f"{path}1", f"{path}0", steps[0].dim)
        return None
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == "weight":
            return Normed(hook, "weight_v", "weight_g", hook.dim)
    return None


def lengths(direction: Tensor, dim: int) -> Tensor:
    """The norm of the direction, in the shape of the length."""
    return torch.norm_except_dim(direction, 2, dim)


def weight_of(direction: Tensor, length: Tensor, dim: int) -> Tensor:
    """The computed weight: zero, not NaN, where the whole direction is."""
    norm = lengths(direction, dim)
    return direction * (length / torch.where(norm > 0, norm, 1.0))


class _MaskedParametrization(_WeightNorm):
    """PyTorch's, where neurons may have lost all of their weights."""

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The computed weight."""
        return weight_of(weight_v, weight_g, self.dim)


class _MaskedHook(WeightNorm):
    """The same for the older function."""

    def compute_weight(self, module: nn.Module) -> Tensor:
        """The computed weight."""
        return weight_of(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)


def begin_masking(layer: nn.Module) -> None:
    """From now on the layer computes its weight in the way that bears a mask; nothing for one without weight norm."""
    if (normed := norm_of(layer)) is not None:
        normed.norm.__class__ = _MaskedHook if isinstance(normed.norm, WeightNorm) else _MaskedParametrization


@torch.no_grad()
def end_masking(layer: nn.Module) -> None:
    """PyTorch computes the weight again: neurons without any get a length of 0, and some direction."""
    if (normed := norm_of(layer)) is None:
        return
    normed.norm.__class__ = WeightNorm if isinstance(normed.norm, WeightNorm) else _WeightNorm
    direction, length = normed.parts(layer)
    empty = lengths(direction, normed.dim) == 0
    length.masked_fill_(empty, 0)
    direction.masked_fill_(empty.expand_as(direction), 1)


@torch.no_grad()
def scale_lengths(layer: nn.Module, before: Tensor | None) -> None:
    """Let the weights that are left be what they were when the norm of the direction was ``before``."""
    normed = norm_of(layer)
    if normed is None or before is None:
        return
    direction, length = normed.parts(layer)
    after = lengths(direction, normed.dim)
    # Who has lost everything keeps the length for what may grow there; it would learn nothing from a length of 0.
    length.mul_(torch.where((before > 0) & (after > 0), after / before, 1.0))
