"""A PyTorch model to a program: `torch.export` gives the graph, masks and weights give the packed layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.graph import EXPORT_BATCH, Graph
from sparbor.modules import PAINeuronModule
from sparbor.packing import Precision
from sparbor.program import Program
from sparbor.runtime import Runtime


def deploy(
    model: nn.Module,
    example: Tensor,
    *,
    batch: int = 1,
    threads: int = 1,
    precision: str = "f16",
) -> Runtime:
    """Lower a trained model to the native engine.

    `example` is an input, its first dimension the batch. `batch` is the size you will mostly run: each layer
    is packed sparse or dense, whichever is faster there; every batch size runs. `precision` is "f16", a
    16-bit word a synapse with a relative error of at most 1/64, or "f32", exact weights. Masks come from the
    model's perforated layers; a plain layer is dense unless many of its weights are zero.

    Raises ArgumentError for an operation that the engine does not know, and names it.
    """
    if not isinstance(batch, int) or batch < 1:
        raise ArgumentError(f"batch={batch!r}: it must be a whole number from 1")
    if precision not in {each.value for each in Precision}:
        raise ArgumentError(f"precision={precision!r}: it must be one of {', '.join(each.value for each in Precision)}")
    return Runtime(lower(model, example, batch=batch, precision=Precision(precision)), threads)


def lower(model: nn.Module, example: Tensor, *, batch: int = 1, precision: Precision = Precision.F16) -> Program:
    """The program of a model in its evaluation mode."""
    if not isinstance(example, Tensor):
        raise ArgumentError(f"example is a {type(example).__name__}: pass one input as a tensor, the batch first")
    if example.dim() < 2 or len(example) == 0:
        raise ArgumentError(f"example has shape {tuple(example.shape)}: it must be (batch, ...) and not empty")
    if example.dtype != torch.float32:
        raise ArgumentError(f"example is {example.dtype}: the engine takes float32, pass example.float()")
    graph = Graph(_export(model, example), _masks(model))
    return graph.lower(batch, precision)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    items = example[:1].expand(EXPORT_BATCH, *example.shape[1:]).contiguous()
    with _evaluating(model), torch.no_grad():
        try:
            return torch.export.export(model, (items,))
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ArgumentError(
                f"torch.export could not trace the model: {reason[0]}. Its forward must take one tensor, "
                "without control flow that depends on values"
            ) from error


def _masks(model: nn.Module) -> dict[int, Tensor]:
    """The masks of perforated layers, by the identity of the weight they belong to."""
    return {id(module.weight): module.mask for module in model.modules() if isinstance(module, PAINeuronModule)}
