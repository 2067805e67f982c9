"""A model's graph by `torch.export`: any batch size, nothing in place, nothing meant for training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lower.call import ModelCall, named_answers
from sparbor.lower.decompositions import written_otherwise
from sparbor.lower.quiet import quiet
from sparbor.lower.sizes import BATCH
from sparbor.lower.states import state_names
from sparbor.ops.arguments import where

_BATCH = 3  # of the traced inputs; neither 0 nor 1, which tracing takes for special cases
_LENGTH = 5  # likewise, of a dimension of any size that the example has one number along

# By input, the dimensions that may be of any size: by name, or without one where tracing is to find out.
FreeSizes: TypeAlias = Mapping[str, Mapping[int, "str | None"]]


@dataclass(frozen=True)
class Traced:
    """A model's graph, and what its inputs and outputs are called, in the graph's order."""

    exported: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: Mapping[str, str]  # what the inputs are called that the buffers are which the model changes as it runs


def trace(model: nn.Module, call: ModelCall, free: FreeSizes) -> Traced:
    """The model's graph for calls like this one, of any size along the free dimensions."""
    call = call.with_tensors(items_like(call.tensors, free))
    outputs: list[str] = []

    def name_outputs(_: nn.Module, __: Any, answer: Any) -> Any:
        named = named_answers(answer)
        outputs[:] = named
        return tuple(named.values())

    naming = model.register_forward_hook(name_outputs)
    try:
        functional = _functional(model, call, free)
    finally:
        naming.remove()
    changed = functional.graph_signature.buffers_to_mutate.values()
    return Traced(functional, _inputs_in_order(functional, call), tuple(outputs), state_names(changed, call.arguments))


def _functional(model: nn.Module, call: ModelCall, free: FreeSizes) -> ExportedProgram:
    with quiet():
        exported = _export(model, call, free)
        for node in exported.graph.nodes:
            _refuse_training_mode(node)
            _drop_dropout(node)
        exported.example_inputs = None  # by which PyTorch would check sizes, and fails where a model takes **kwargs
        # Without in-place operations and aliases a value is what one operation computes.
        try:
            functional: ExportedProgram = exported.run_decompositions(written_otherwise())
        except RuntimeError as error:  # what tracing took for granted of sizes does not hold
            raise ArgumentError(
                f"the model's forward does not fit every size that is free ({in_short(error)}): name those dimensions"
                " by dynamic_shapes that do, or pass {} if none does"
            ) from error
    for node in functional.graph.nodes:
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable:
            raise ArgumentError(f"{where(node)} works in place where that cannot be undone: use its other form")
    return functional


def _inputs_in_order(exported: ExportedProgram, call: ModelCall) -> tuple[str, ...]:
    """The names of the tensors in the order in which the graph takes them."""
    keywords = exported.call_spec.in_spec.children()[1].context or ()
    return tuple(name for name in (*call.names, *keywords) if name in call.tensors)


def items_like(tensors: Mapping[str, Tensor], free: FreeSizes) -> dict[str, Tensor]:
    """A batch of items like the first of each, of sizes that tracing takes for any other."""
    made = {}
    for name, tensor in tensors.items():
        items = tensor.detach()
        for axis, size in free.get(name, {}).items():
            if size == BATCH and axis == 0:
                items = items[:1].expand(_BATCH, *items.shape[1:])
            elif items.shape[axis] < 2:
                items = items.repeat_interleave(_LENGTH, axis)
        made[name] = items.contiguous()
    return made


def checked_free_sizes(given: Any, tensors: Mapping[str, Tensor]) -> FreeSizes:
    """What a user names; raises ArgumentError if it is not of the example's inputs and dimensions."""
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"dynamic_shapes is a {type(given).__name__}: pass a dictionary, as {{'input_ids': {{0: 'batch'}}}}"
        )
    free = {}
    for name, sizes in given.items():
        if name not in tensors:
            raise ArgumentError(f"dynamic_shapes has {name!r}, which is no input: those are {', '.join(tensors)}")
        rank = tensors[name].dim()
        for axis, size in sizes.items():
            if not isinstance(axis, int) or not 0 <= axis < rank or not str(size).isidentifier():
                raise ArgumentError(
                    f"dynamic_shapes[{name!r}] has {axis!r}: {size!r}: it must be one of its dimensions, 0 to "
                    f"{rank - 1}, and a name such as 'sequence'"
                )
        free[str(name)] = dict(sizes)
    return free


def likely_free_sizes(tensors: Mapping[str, Tensor]) -> list[FreeSizes]:
    """What may be of any size, the boldest guess first: the batch, and the lengths of sequences.

    The batch is the first dimension of the first input, and of all others that have it as long. Whole numbers are
    tokens or masks, and floats of two or three dimensions may be sequences; an image is of one size. What the example
    has one of may be a sequence of one, or a single channel.
    """
    first = next(tensor for tensor in tensors.values() if tensor.dim() > 0)
    batch: dict[str, Mapping[int, str | None]] = {
        name: {0: BATCH} for name, tensor in tensors.items() if tensor.dim() > 0 and len(tensor) == len(first)
    }
    lengths: dict[str, Mapping[int, str | None]] = {}
    for name, tensor in tensors.items():
        known = batch.get(name, {})
        others = [axis for axis in range(tensor.dim()) if axis not in known]
        lengths[name] = {**known, **(dict.fromkeys(others) if tensor.dim() <= 3 else {})}
    # A dimension of 1 may be that of channels, or of layers along which states lie.
    longer: dict[str, Mapping[int, str | None]] = {
        name: {axis: size for axis, size in sizes.items() if size or tensors[name].shape[axis] > 1}
        for name, sizes in lengths.items()
    }
    guesses: list[FreeSizes] = [lengths, longer, batch]
    return [each for number, each in enumerate(guesses) if each not in guesses[:number]]


def trace_call(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ExportedProgram:
    """The graph of one call; behind :data:`TRACED` parameters are called as in the model.

    It is for looking at, not for running: sizes are those of the call, and a model that draws random numbers or changes
    its buffers is traced too. The graph's output are all tensors in what the model returns.
    """
    device = next(model.parameters()).device.type
    # With gradients, or attention would take its fast path, which hides its layers; nothing is compiled.
    eager = torch.compiler.set_stance("force_eager")
    with quiet(), eager, torch.enable_grad(), torch.autocast(device, enabled=False), torch.random.fork_rng(devices=[]):
        exported = torch.export.export(_TensorsOf(model), tuple(args), dict(kwargs), strict=False)
        for node in exported.graph.nodes:
            _drop_dropout(node)
        functional: ExportedProgram = exported.run_decompositions({})
    return functional


TRACED = "model."  # what the names of parameters in a traced call begin with


class _TensorsOf(nn.Module):
    """A model that returns a list of the tensors in what it returns: torch.export does not know every class."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        return list(_tensors_in(self.model(*args, **kwargs), set()))


def _tensors_in(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if id(value) in seen or isinstance(value, nn.Module):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors_in(each, seen)
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _tensors_in(each, seen)
    elif hasattr(value, "__dict__"):
        yield from _tensors_in(vars(value), seen)


def _export(model: nn.Module, call: ModelCall, free: FreeSizes) -> ExportedProgram:
    try:
        return _exported(model, call, free, strict=False)
    except ArgumentError:
        raise
    except Exception as error:
        reason = error
    if "Constraints violated" in str(reason):
        with suppress(Exception):  # len(x) fixes the batch, but strict tracing sees through it
            return _exported(model, call, free, strict=True)
        with suppress(Exception):  # a length that is free, but for a few: at least 3, say
            return _exported(model, call, free, strict=False, all_lengths=False)
        raise ArgumentError(
            "the model's forward does not fit every batch size, or treats some differently: the batch must stay free, "
            "as in x.flatten(1) or x.view(x.shape[0], -1)"
        ) from reason
    shapes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in call.tensors.values())
    raise ArgumentError(
        f"torch.export could not trace the model for items of shape {shapes}: {in_short(reason)}. Its "
        "forward must take tensors, the batch first, without control flow that depends on values"
    ) from reason


def in_short(reason: Exception) -> str:
    """The first line of what PyTorch says; where values decide, that names but symbols, and the place comes later."""
    text = str(reason).strip()
    if "data-dependent" in text:
        place = re.search(r'File "(.+)", line (\d+), in (.+)', text)
        at = f" (line {place[2]} of {Path(place[1]).name}, in {place[3]})" if place else ""
        return f"what it does depends on the values of a tensor{at}"
    return (text.splitlines() or [type(reason).__name__])[0]


def _exported(
    model: nn.Module, call: ModelCall, free: FreeSizes, *, strict: bool, all_lengths: bool = True
) -> ExportedProgram:
    named = {
        size: Dim(size) if all_lengths or size == BATCH else Dim.DYNAMIC
        for sizes in free.values()
        for size in sizes.values()
        if size is not None
    }
    shapes: Any = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    for name, tensor in call.tensors.items():
        dimensions = {axis: Dim.AUTO if size is None else named[size] for axis, size in free.get(name, {}).items()}
        if dimensions:
            shapes[tensor] = dimensions
    with _without_fast_path():
        return torch.export.export(model, call.args, dict(call.kwargs), dynamic_shapes=shapes, strict=strict)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """PyTorch's transformer layers may call one operation that hides all that they consist of."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


# How operators call the argument that makes them compute as in training.
_TRAINING_ARGUMENTS = ("train", "training")

_DROPOUTS = {"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}


def _refuse_training_mode(node: Node) -> None:
    """A function that was told to train, or not told to evaluate: the module's mode does not reach it."""
    if not isinstance(node.target, OpOverload):
        return
    name, given = _operator(node.target), _arguments(node)
    for argument in _TRAINING_ARGUMENTS:
        if given.get(argument) is not True:
            continue
        if name == "batch_norm" and given.get("running_mean") is None:
            continue  # it normalises a weight, or is refused where it is lowered
        raise ArgumentError(
            f"{where(node)}: {name} has {argument}=True, though the model evaluates: pass training=self.training, "
            "or use the module of that name, which knows its mode"
        )


def _drop_dropout(node: Node) -> None:
    """In evaluation mode it returns its very input; PyTorch's functional graph would have a copy instead."""
    if isinstance(node.target, OpOverload) and _operator(node.target) in _DROPOUTS:
        node.args, node.kwargs = node.args[:1], {}
        node.target = torch.ops.aten.alias.default


def _operator(target: OpOverload) -> str:
    """The operator's name, that of its in-place form included."""
    return target._schema.name.removeprefix("aten::").removesuffix("_")


def _arguments(node: Node) -> dict[str, Any]:
    assert isinstance(node.target, OpOverload)
    names = [argument.name for argument in node.target._schema.arguments]
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}
