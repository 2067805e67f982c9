"""A model's graph by `torch.export`: any batch size, nothing in place, nothing random or meant for training."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from sparbor.errors import ArgumentError

_BATCH = 3  # of the traced input; neither 0 nor 1, which tracing takes for special cases


def trace(model: nn.Module, example: Tensor) -> ExportedProgram:
    """The model's graph for inputs like `example`, of any batch size."""
    items = example.detach()[:1].expand(_BATCH, *example.shape[1:]).contiguous()
    exported = _export(model, items)
    for node in exported.graph.nodes:
        _refuse_training_mode(node)
    # Without in-place operations and aliases a value is what one operation computes. The empty table leaves linear,
    # softmax and the activations whole.
    functional = exported.run_decompositions({})
    for node in functional.graph.nodes:
        _refuse_state(node)
    changed = functional.graph_signature.buffers_to_mutate
    if changed:
        names = ", ".join(changed.values())
        raise ArgumentError(f"the model changes its buffers as it runs ({names}): a deployed model keeps no state")
    return functional


def where(node: Node) -> str:
    """The node, behind the path of the module that it comes from."""
    path = module_path(node)
    return f"{path} ({node.name})" if path else node.name


def module_path(node: Node) -> str:
    """The innermost module that the node comes from; empty for the model itself."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""


def _export(model: nn.Module, items: Tensor) -> ExportedProgram:
    try:
        return _exported(model, items, strict=False)
    except Exception as error:
        reason = error
    if "specialized it to be a constant" in str(reason):  # it called len(x), which only strict tracing sees through
        try:
            with _quiet():
                return _exported(model, items, strict=True)
        except Exception:
            raise ArgumentError(
                "the model's forward fits batches of one size only, or treats some differently: the batch must stay "
                "free and the first dimension, as in x.flatten(1) or x.view(x.shape[0], -1)"
            ) from reason
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    raise ArgumentError(
        f"torch.export could not trace the model: {lines[0]}. Its forward must take one tensor, the batch first, "
        "without control flow that depends on values"
    ) from reason


def _exported(model: nn.Module, items: Tensor, *, strict: bool) -> ExportedProgram:
    shapes = torch.export.ShapesCollection()
    shapes[items] = {0: torch.export.Dim("batch")}
    return torch.export.export(model, (items,), dynamic_shapes=shapes, strict=strict)


@contextmanager
def _quiet() -> Iterator[None]:
    """Strict tracing logs each of its failures at length."""
    logger = logging.getLogger("torch._guards")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


# How operators call the argument that makes them compute as in training.
_TRAINING_ARGUMENTS = {"train", "training", "use_input_stats"}


def _refuse_training_mode(node: Node) -> None:
    """A function that was told to train, or not told to evaluate: the module's mode does not reach it."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return
    names = [argument.name for argument in node.target._schema.arguments]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    name = node.target._schema.name.removeprefix("aten::")
    if any(given.get(argument) is True for argument in _TRAINING_ARGUMENTS):
        if name == "batch_norm" and given.get("running_mean") is None:
            raise ArgumentError(f"{where(node)} is a batch norm without running statistics: track them in training")
        raise ArgumentError(
            f"{where(node)}: {name} runs in training mode though the model evaluates: pass training=self.training "
            f"to {name}, or use the module for it, which knows its mode"
        )
    if torch.Tag.nondeterministic_seeded in node.target.tags and name not in _DROPOUTS:
        raise ArgumentError(f"{where(node)}: {name} draws random numbers, which a deployed model does not")


_DROPOUTS = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout"}


def _refuse_state(node: Node) -> None:
    if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
        raise ArgumentError(f"{where(node)} works in place where that cannot be undone: use its other form")
