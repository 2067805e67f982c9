"""When a layer that trains sparse is computed by its synapses alone, and how."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sparbor import native
from sparbor.synapses import ops
from sparbor.synapses.lists import ConvParams, Synapses

FEW_ITEMS = 16  # a kernel has so many lanes for the items of a batch


# At which density large layers take equally long both ways, forward and backward; see docs/training.md.
_EVEN_FOR_LINEAR = {"avx512": 0.45, "avx2": 0.35, "neon": 0.15, "portable": 0.15}
_EVEN_FOR_CONVOLUTIONS = {"avx512": 0.35, "avx2": 0.4, "neon": 0.4, "portable": 0.4}
# Sets that differ in 8-bit layers alone.
_OF_SET = {"avx512vnni": "avx512", "avx2vnni": "avx2", "neondot": "neon"}
CALLS_MULTIPLY_ADDS = 2 << 20  # what a dense layer does in the time that calling the operation takes
STALLING_MULTIPLY_ADDS = 1 << 28  # of a dense layer that takes milliseconds: what is smaller stalls nobody


def conv_params(layer: nn.Module) -> ConvParams | None:
    """How the layer's kernel moves, if the kernels can run it: a subclass may compute something else."""
    if type(layer) is nn.Linear:
        return ConvParams()
    if type(layer) not in (nn.Conv1d, nn.Conv2d):
        return None
    layer = cast(nn.Conv2d, layer)
    if layer.padding_mode != "zeros" or any(stride != 1 for stride in layer.stride) or isinstance(layer.padding, str):
        return None
    params = ConvParams(_pair(layer.kernel_size, 1), _pair(layer.padding, 0), _pair(layer.dilation, 1), layer.groups)
    return params if all(pad <= reach for pad, reach in zip(params.padding, params.reach, strict=True)) else None


def pays(layer: nn.Module, params: ConvParams, weights: int, density: float, x: Tensor) -> bool:
    """Whether the synapses alone are faster than the dense layer for a batch ``x``, and the kernels take both.

    ``params`` is the layer's, by :func:`conv_params`, ``weights`` how many it has when it is dense.
    """
    return native.built and _is_faster(layer, weights, density, x) and _can_take(layer, params, x)


def pays_in_growth(layer: nn.Module, weights: int, x: Tensor) -> bool:
    """Whether the same is true in a step in which synapses grow, where the dense weight's gradient is wanted."""
    return isinstance(layer, nn.Linear) and x.numel() // _channels(layer) * weights >= STALLING_MULTIPLY_ADDS


def _is_faster(layer: nn.Module, weights: int, density: float, x: Tensor) -> bool:
    evens = _EVEN_FOR_LINEAR if isinstance(layer, nn.Linear) else _EVEN_FOR_CONVOLUTIONS
    even = evens[_OF_SET.get(native.choose_kernel_set(), native.choose_kernel_set())]
    if density >= even:
        return False
    uses = x.numel() // _channels(layer)  # of each weight
    return uses * weights * (1 - density / even) >= CALLS_MULTIPLY_ADDS


def _can_take(layer: nn.Module, params: ConvParams, x: Tensor) -> bool:
    if _is_special(x) or _is_watched(layer):
        return False
    own = [cast(nn.Linear, layer).weight, cast("Tensor | None", layer.bias)]
    if x.dtype != torch.float32 or any(each is not None and each.dtype != x.dtype for each in own):
        return False
    features = 1 if isinstance(layer, nn.Linear) else 1 + len(cast(nn.Conv2d, layer).kernel_size)
    batched = x.dim() > 1 if features == 1 else x.dim() == features + 1
    if not batched or x.numel() == 0 or x.shape[-features] != _channels(layer) or not _fits(params, x.shape[2:]):
        return False
    return x.shape[:-features].numel() >= FEW_ITEMS


def _is_special(x: Tensor) -> bool:
    """Whether it is of another kind, lies elsewhere, or is part of what kernels do not take part in."""
    return (
        type(x) not in (Tensor, nn.Parameter)
        or x.layout is not torch.strided
        or x.device.type != "cpu"
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def _is_watched(layer: nn.Module) -> bool:
    """Whether somebody has to be told when the layer itself is called."""
    hooks = layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks
    return any(hooks) or "forward" in vars(layer)


def _fits(params: ConvParams, sizes: tuple[int, ...]) -> bool:
    """Whether the kernel fits at least once into an input whose last axes, if it has any, are of these sizes."""
    known = zip(reversed(sizes), reversed(params.padding), reversed(params.reach), strict=False)
    return all(size + 2 * pad > reach for size, pad, reach in known)


def compute(layer: nn.Module, weights: Tensor, synapses: Synapses, x: Tensor) -> Tensor:
    """What the layer makes of ``x`` with the weights of its synapses in the order of its mask."""
    bias = cast("Tensor | None", layer.bias)
    if isinstance(layer, nn.Linear):
        y = ops.sparse_conv2d(x.reshape(-1, x.shape[-1], 1, 1), weights, bias, synapses)
        return y.view(*x.shape[:-1], y.shape[1])
    if isinstance(layer, nn.Conv1d):
        return ops.sparse_conv2d(x.unsqueeze(2), weights, bias, synapses).squeeze(2)
    return ops.sparse_conv2d(x, weights, bias, synapses)


def compute_in_growth(layer: nn.Linear, weight: Tensor, synapses: Synapses, x: Tensor) -> Tensor:
    """The same of the dense ``weight``, whose gradient is that of a dense layer."""
    y = ops.linear_with_dense_gradient(x.reshape(-1, x.shape[-1]), weight, layer.bias, synapses)
    return y.view(*x.shape[:-1], y.shape[1])


def _channels(layer: nn.Module) -> int:
    return cast(int, layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)


def _pair(sizes: tuple[int, ...], missing: int) -> tuple[int, int]:
    """Of planes; a line is a plane of one row."""
    return (missing, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
