"""PyTorch operations that do the multiplications of a layer's synapses and no others, and their gradients.

``sparbor::sparse_conv2d`` is a convolution of stride 1 (a linear layer is one over planes of one pixel) whose weights
are a vector, those of its synapses; :class:`sparbor.synapses.lists.SynapseLists` say which those are:

    y[n, o, p] = bias[o] + sum over the synapses k of output o of weights[k] * x_padded[n, pixel(k) + p]

What is computed depends on the kernel set (``SPARBOR_ISA``), not on the number of threads.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from sparbor import native
from sparbor.synapses.batch_layout import batch_layout_memory, chunk_size, in_format, is_channels_last, new_batch
from sparbor.synapses.lists import Size, Synapses, places_of
from sparbor.workers import workers

_LISTS = "Tensor bounds, Tensor inputs, Tensor back_bounds, Tensor back_inputs, Tensor positions"
_PARAMS = "int[] padding, int[] reach, bool channels_last"

torch.library.define(
    "sparbor::sparse_conv2d", f"(Tensor x, Tensor weights, Tensor? bias, {_LISTS}, {_PARAMS}) -> Tensor"
)
torch.library.define(
    "sparbor::sparse_conv2d_backward",
    f"(Tensor dy, Tensor x, Tensor weights, {_LISTS}, {_PARAMS}, bool with_dx) -> (Tensor, Tensor)",
)


def sparse_conv2d(x: Tensor, weights: Tensor, bias: Tensor | None, synapses: Synapses) -> Tensor:
    """``(batch, channels, height, width)`` to ``(batch, outputs, ...)``, in float32 or float64, on the CPU."""
    channels_last, params = is_channels_last(x), synapses.params
    lists = synapses.lists(Size(x.shape[2], x.shape[3], channels_last))
    tensors = lists.bounds, lists.inputs, lists.back_bounds, lists.back_inputs, lists.positions
    y: Tensor = torch.ops.sparbor.sparse_conv2d(x, weights, bias, *tensors, params.padding, params.reach, channels_last)
    return y


def linear_with_dense_gradient(x: Tensor, weight: Tensor, bias: Tensor | None, synapses: Synapses) -> Tensor:
    """Rows ``(batch, inputs)`` to ``(batch, outputs)`` by the synapses of a dense ``weight``, which gets all of its
    gradient, that of dropped weights too: growth goes by it.

    So a step in which synapses grow takes one dense product, where a dense layer takes three.
    """
    y: Tensor = _LinearWithDenseGradient.apply(x, weight, bias, synapses)  # type: ignore[no-untyped-call]
    return y


def _forward(x: Tensor, weights: Tensor, bias: Tensor | None, *others: Any) -> Tensor:
    bounds, inputs, *_, padding, reach, channels_last = others
    y = _new_output(x, bounds, padding, reach, channels_last)
    for some_x, some_y in _chunks(in_format(x, channels_last), y, padding=padding, reach=reach):
        planes = _to_batch_layout("inputs", some_x, padding, channels_last)
        _sum((bounds, inputs, None), weights, bias, planes, some_y, channels_last)
    return y


def _new_output(x: Tensor, bounds: Tensor, padding: list[int], reach: list[int], channels_last: bool) -> Tensor:
    height, width = (size + 2 * pad - away for size, pad, away in zip(x.shape[2:], padding, reach, strict=True))
    return new_batch(x, (x.shape[0], bounds.shape[1], height, width), channels_last)


def _backward(dy: Tensor, x: Tensor, weights: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    bounds, inputs, back_bounds, back_inputs, positions, padding, reach, channels_last, with_dx = others
    # So much zero padding the gradient of the outputs needs, for that of the inputs to be a sum over it.
    margin = reach[0] - padding[0], reach[1] - padding[1]
    gradients = torch.zeros_like(weights, memory_format=torch.contiguous_format)
    dx = new_batch(x, x.shape, channels_last) if with_dx else None
    x, dy = in_format(x, channels_last), in_format(dy, channels_last)
    for some_x, some_dy, some_dx in _chunks(x, dy, dx, padding=padding, reach=reach):
        planes = _to_batch_layout("inputs", some_x, padding, channels_last)
        slopes = _to_batch_layout("slopes", some_dy, margin, channels_last)
        arrays = bounds.numpy(), inputs.numpy(), planes.numpy(), slopes.numpy()
        native.add_synapse_gradients(workers(), *arrays, margin, gradients.numpy(), channels_last)
        if some_dx is not None:
            _sum((back_bounds, back_inputs, positions), weights, None, slopes, some_dx, channels_last)
    return dy.new_empty(0) if dx is None else dx, gradients


def _chunks(x: Tensor, *others: Tensor | None, padding: list[int], reach: list[int]) -> Iterator[tuple[Any, ...]]:
    """Parts of batches that belong together: what one is turned into is still in a cache when it is computed with."""
    is_vector = [*x.shape[2:], *padding, *reach] == [1, 1, 0, 0, 0, 0]  # and so are its gradients
    size = chunk_size(len(x), is_vector)
    if size >= len(x):
        return iter([(x, *others)])
    parts = [repeat(None) if batch is None else torch.split(batch, size) for batch in (x, *others)]
    return zip(*parts, strict=False)


def _to_batch_layout(purpose: str, x: Tensor, margin: Sequence[int], channels_last: bool) -> Tensor:
    """A chunk with its items innermost; what was transposed for this purpose before is overwritten."""
    planes = batch_layout_memory(purpose, x, margin, channels_last)
    native.to_batch_layout(workers(), x.numpy(), (margin[0], margin[1]), planes.numpy(), channels_last)
    return planes


def _sum(
    lists: tuple[Tensor, Tensor, Tensor | None],
    weights: Tensor,
    bias: Tensor | None,
    planes: Tensor,
    y: Tensor,
    channels_last: bool,
) -> None:
    """The sums of the synapses of each row of the lists, into the chunk ``y``."""
    bounds, inputs, positions = lists
    native.sum_synapses(
        workers(),
        bounds.numpy(),
        inputs.numpy(),
        None if positions is None else positions.numpy(),
        weights.contiguous().numpy(),
        None if bias is None else bias.contiguous().numpy(),
        planes.numpy(),
        y.numpy(),
        channels_last,
    )


@torch.library.register_fake("sparbor::sparse_conv2d")  # type: ignore[untyped-decorator]
def _forward_shape(x: Tensor, weights: Tensor, bias: Tensor | None, bounds: Tensor, *rest: Any) -> Tensor:
    return _new_output(x, bounds, *rest[-3:])


@torch.library.register_fake("sparbor::sparse_conv2d_backward")  # type: ignore[untyped-decorator]
def _backward_shapes(dy: Tensor, x: Tensor, weights: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    channels_last, with_dx = rest[-2:]
    return new_batch(x, x.shape, channels_last) if with_dx else x.new_empty(0), torch.empty_like(weights)


class _SparseConv2d(torch.autograd.Function):
    """The operation with its gradient; `torch.library.register_autograd` takes three times as long to call one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, bias: Tensor | None, *others: Any) -> Tensor:
        """The output of tensors of PyTorch's own; others go on to whoever handles them."""
        *lists, padding, reach, channels_last = others
        ctx.save_for_backward(x, weights, *lists)
        ctx.params = padding, reach, channels_last
        if type(x) is Tensor or type(x) is torch.nn.Parameter:
            return _forward(x, weights, bias, *others)
        with torch._C._AutoDispatchBelowAutograd():
            y: Tensor = torch.ops.sparbor.sparse_conv2d(x, weights, bias, *others)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Of the input, the weights and the bias, and nothing for the lists."""
        with_dx, with_weights, with_bias, *others = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the gradients themselves are to be differentiated
            dx, gradients = _differentiable(dy, *ctx.saved_tensors[:4], *ctx.params)
        else:
            compute: Any = _backward if type(dy) is Tensor else torch.ops.sparbor.sparse_conv2d_backward
            dx, gradients = compute(dy, *ctx.saved_tensors, *ctx.params, with_dx)
        return (
            dx if with_dx else None,
            gradients if with_weights else None,
            dy.sum((0, 2, 3)) if with_bias else None,
            *[None] * len(others),
        )


class _LinearWithDenseGradient(torch.autograd.Function):
    """A linear layer over rows by its synapses; its ``weight`` is the dense one, and so is what that is told."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, synapses: Synapses) -> Tensor:
        """The output, one row for each of ``x``."""
        ctx.save_for_backward(x, weight)
        ctx.synapses = synapses
        lists = synapses.lists(_ONE_PIXEL)
        others = lists.bounds, lists.inputs, *_OF_ONE_PIXEL
        return _forward(_pixels(x), _active(weight, synapses), bias, *others).flatten(1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Of the input, by the synapses alone; of the whole weight, dropped ones included; of the bias."""
        x, weight = ctx.saved_tensors
        with_dx, with_weight, with_bias, _ = ctx.needs_input_grad
        dx = None
        if with_dx:  # to differentiate the gradients themselves, PyTorch has to know how they are computed
            dx = dy @ weight if torch.is_grad_enabled() else _gradient_of_rows(dy, weight, ctx.synapses)
        return dx, dy.T @ x if with_weight else None, dy.sum(0) if with_bias else None, None


_ONE_PIXEL = Size(1, 1)
_OF_ONE_PIXEL: tuple[list[int], list[int], bool] = [0, 0], [0, 0], False  # padding, reach, channels last


def _gradient_of_rows(dy: Tensor, weight: Tensor, synapses: Synapses) -> Tensor:
    lists, weights = synapses.lists(_ONE_PIXEL), _active(weight, synapses)
    dx = dy.new_empty(len(dy), weight.shape[1], 1, 1)
    for some_dy, some_dx in _chunks(_pixels(dy), dx, padding=[0, 0], reach=[0, 0]):
        slopes = _to_batch_layout("slopes", some_dy, (0, 0), channels_last=False)
        back = lists.back_bounds, lists.back_inputs, lists.positions
        _sum(back, weights, None, slopes, some_dx, channels_last=False)
    return dx.flatten(1)


def _pixels(rows: Tensor) -> Tensor:
    return rows.contiguous()[:, :, None, None]


def _active(weight: Tensor, synapses: Synapses) -> Tensor:
    return weight.flatten().index_select(0, synapses.positions)


def _differentiable(dy: Tensor, x: Tensor, weights: Tensor, *others: Any) -> tuple[Tensor | None, Tensor | None]:
    """The gradients by a dense convolution, which PyTorch can differentiate again."""
    bounds, inputs, padding, reach, channels_last = others
    x, weights = x.view_as(x), weights.view_as(weights)  # one may have been made of the other
    padded = Size(x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1], channels_last)
    counts = (bounds[-1] - bounds[0]).long()
    output = torch.arange(len(counts)).repeat_interleave(counts)
    taps = (output, *places_of(padded, x.shape[1], inputs.long()))
    dense = weights.new_zeros(len(counts), x.shape[1], reach[0] + 1, reach[1] + 1).index_put(taps, weights)
    y = torch.nn.functional.conv2d(x, dense, padding=padding)
    wanted = [tensor for tensor in (x, weights) if tensor.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
    return next(found) if x.requires_grad else None, next(found) if weights.requires_grad else None


torch.library.impl("sparbor::sparse_conv2d", "CPU")(_forward)
torch.library.impl("sparbor::sparse_conv2d", "Autograd")(_SparseConv2d.apply)
torch.library.impl("sparbor::sparse_conv2d_backward", "CPU")(_backward)
