"""PyTorch operations that do the multiplications of a layer's synapses and no others, and their gradients.

``sparbor::sparse_conv2d`` is a convolution of stride 1 (a linear layer is one over planes of one pixel) whose weights
are a vector, those of its synapses, and whose topology is :class:`sparbor.synapses.Lists`:

    y[n, o, p] = bias[o] + sum over the synapses k of output o of weights[k] * x_padded[n, pixel(k) + p]

The kernels' lanes are the items of the batch: planes are turned so that these lie side by side, a chunk at a time,
whose pixels then stay in a cache while all outputs read them. What is computed depends on the kernel set
(``SPARBOR_ISA``), not on the number of threads.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparbor import engine
from sparbor.synapses import Synapses

_LANES = 16  # a kernel's tile of columns
_MOST_LANES_OF_PIXEL, _MOST_LANES_OF_PLANE = 128, 32

torch.library.define(
    "sparbor::sparse_conv2d",
    "(Tensor x, Tensor weights, Tensor? bias, Tensor starts, Tensor inputs, Tensor back_starts, Tensor back_inputs,"
    " Tensor positions, int[] padding, int[] reach) -> Tensor",
)
torch.library.define(
    "sparbor::sparse_conv2d_backward",
    "(Tensor dy, Tensor x, Tensor weights, Tensor starts, Tensor inputs, Tensor back_starts, Tensor back_inputs,"
    " Tensor positions, int[] padding, int[] reach, bool with_dx) -> (Tensor, Tensor)",
)


def sparse_conv2d(x: Tensor, weights: Tensor, bias: Tensor | None, synapses: Synapses) -> Tensor:
    """``(batch, channels, height, width)`` to ``(batch, outputs, ...)``, in float32 or float64, on the CPU."""
    lists, window = synapses.lists(*x.shape[2:]), synapses.window
    topology = lists.starts, lists.inputs, lists.back_starts, lists.back_inputs, lists.positions
    y: Tensor = torch.ops.sparbor.sparse_conv2d(x, weights, bias, *topology, window.padding, window.reach)
    return y


@torch.library.impl("sparbor::sparse_conv2d", "CPU")
def _forward(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    starts: Tensor,
    inputs: Tensor,
    back_starts: Tensor,
    back_inputs: Tensor,
    positions: Tensor,
    padding: list[int],
    reach: list[int],
) -> Tensor:
    planes = _to_planes(x, padding)
    chunks, _, height, width, lanes = planes.shape
    y = planes.new_empty(chunks, len(starts) - 1, height - reach[0], width - reach[1], lanes)
    engine.sum_synapses(
        _workers(),
        starts.numpy(),
        inputs.numpy(),
        None,
        weights.contiguous().numpy(),
        None if bias is None else bias.contiguous().numpy(),
        planes.numpy(),
        y.numpy(),
    )
    return _from_planes(y, len(x))


@torch.library.register_fake("sparbor::sparse_conv2d")  # type: ignore[untyped-decorator]
def _forward_shape(x: Tensor, weights: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    starts, *_, padding, reach = rest
    height, width = (size + 2 * pad - away for size, pad, away in zip(x.shape[2:], padding, reach, strict=True))
    return x.new_empty(x.shape[0], starts.shape[0] - 1, height, width)


@torch.library.impl("sparbor::sparse_conv2d_backward", "CPU")
def _backward(
    dy: Tensor,
    x: Tensor,
    weights: Tensor,
    starts: Tensor,
    inputs: Tensor,
    back_starts: Tensor,
    back_inputs: Tensor,
    positions: Tensor,
    padding: list[int],
    reach: list[int],
    with_dx: bool,
) -> tuple[Tensor, Tensor]:
    margin = [away - pad for away, pad in zip(reach, padding, strict=True)]
    planes, slopes = _to_planes(x, padding), _to_planes(dy, margin)
    lines, columns = dy.shape[2:]
    inner = slopes[:, :, margin[0] : margin[0] + lines, margin[1] : margin[1] + columns]
    gradients = torch.zeros_like(weights, memory_format=torch.contiguous_format)
    engine.add_synapse_gradients(
        _workers(), starts.numpy(), inputs.numpy(), planes.numpy(), inner.numpy(), gradients.numpy()
    )
    if not with_dx:
        return dy.new_empty(0), gradients
    dx = planes.new_empty(planes.shape[0], x.shape[1], x.shape[2], x.shape[3], planes.shape[4])
    engine.sum_synapses(
        _workers(),
        back_starts.numpy(),
        back_inputs.numpy(),
        positions.numpy(),
        weights.contiguous().numpy(),
        None,
        slopes.numpy(),
        dx.numpy(),
    )
    return _from_planes(dx, len(x)), gradients


@torch.library.register_fake("sparbor::sparse_conv2d_backward")  # type: ignore[untyped-decorator]
def _backward_shapes(dy: Tensor, x: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape if rest[-1] else (0,)), torch.empty_like(weights)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weights, _, *topology, padding, reach = inputs
    ctx.save_for_backward(x, weights, *topology)
    ctx.padding, ctx.reach = padding, reach


def _differentiate(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    with_dx, with_weights, with_bias, *_ = ctx.needs_input_grad
    x, weights, *topology = ctx.saved_tensors
    dx, gradients = torch.ops.sparbor.sparse_conv2d_backward(dy, x, weights, *topology, ctx.padding, ctx.reach, with_dx)
    return (
        dx if with_dx else None,
        gradients if with_weights else None,
        dy.sum((0, 2, 3)) if with_bias else None,
        *[None] * 7,
    )


torch.library.register_autograd("sparbor::sparse_conv2d", _differentiate, setup_context=_save)


def _to_planes(x: Tensor, padding: list[int]) -> Tensor:
    """``(batch, channels, height, width)`` as ``(chunks, channels, padded height, padded width, lanes)``."""
    batch, channels, height, width = x.shape
    most = _MOST_LANES_OF_PIXEL if height == width == 1 else _MOST_LANES_OF_PLANE
    chunks = max(1, -(-batch // most))
    lanes = -(-max(1, batch) // chunks // _LANES) * _LANES
    items = x.reshape(batch, channels * height * width)
    turned = x.new_empty(chunks, items.shape[1], lanes)
    for chunk in range(chunks):  # PyTorch turns one matrix around four times as fast as a batch of them
        part = items[chunk * lanes : (chunk + 1) * lanes]
        turned[chunk, :, : len(part)].copy_(part.t())
        turned[chunk, :, len(part) :].zero_()
    inner = turned.view(chunks, channels, height, width, lanes)
    if padding == [0, 0]:
        return inner
    top, left = padding
    planes = x.new_zeros(chunks, channels, height + 2 * top, width + 2 * left, lanes)
    planes[:, :, top : top + height, left : left + width].copy_(inner)
    return planes


def _from_planes(planes: Tensor, batch: int) -> Tensor:
    """The inverse, of planes without padding."""
    chunks, *item, lanes = planes.shape
    x = planes.new_empty(batch, *item)
    for chunk in range(chunks):
        part = x[chunk * lanes : (chunk + 1) * lanes].view(-1, planes[0, ..., 0].numel())
        part.copy_(planes[chunk].view(-1, lanes)[:, : len(part)].t())
    return x


def _workers() -> tuple[str, int, int]:
    return engine.choose_kernel_set(), torch.get_num_threads(), _openmp()


@lru_cache
def _openmp() -> int:
    """Where PyTorch's OpenMP runtime starts its threads; 0 if it has another one than GNU's or LLVM's."""
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        library = Path(torch.__file__).parent / "lib" / name
        if library.exists():
            start = getattr(ctypes.CDLL(str(library)), "GOMP_parallel", None)
            return ctypes.cast(start, ctypes.c_void_p).value or 0 if start else 0
    return 0
