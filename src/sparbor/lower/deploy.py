"""A PyTorch model to a program: arguments checked, graph traced, layers packed, and its answers compared."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, SparborError
from sparbor.lower.calibrating import calibration_batches
from sparbor.lower.call import ModelCall, call_of
from sparbor.lower.candidates import AUTO, Candidates
from sparbor.lower.graph import Graph
from sparbor.lower.parity import Answers
from sparbor.lower.permuted_copy import permuted
from sparbor.lower.recurrent import stand_in
from sparbor.lower.restored import restored
from sparbor.lower.sizes import UnnamedSizeError
from sparbor.lower.states import start_of, unchanged_buffers, with_states
from sparbor.lower.tracing import FreeSizes, Traced, checked_free_sizes, likely_free_sizes, trace
from sparbor.lower.unfinished import warn_if_unfinished
from sparbor.lower.unpacked import UnpackedProgram
from sparbor.native import choose_kernel_set
from sparbor.nn.neuron import PAINeuronModule
from sparbor.packing.slots import Encoding
from sparbor.program.byte_input import ByteInput
from sparbor.progress import shown, tell


def deploy(
    model: nn.Module,
    example: Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    threads: int = 1,
    weights: str = "word16",
    calibration: Iterable[Any] | None = None,
    byte_input: ByteInput | None = None,
    dynamic_shapes: Mapping[str, Mapping[int, str]] | None = None,
    states: Mapping[str, str] | None = None,
) -> Runtime:
    """Lower a trained model to the native engine, and compare its answers with the model's.

    Active weights come from the masks of the model's dendritic layers; a plain layer is dense unless many of
    its weights are zero. The model is run in evaluation mode on `example` and on a few random items like it, and what
    answers differently from it is not deployed. A sparse layer is stored sparse, and run sparse or dense, whichever is
    faster on the machine that runs it and for so many items. A model that is still denser than it was to become is
    deployed with a warning.

    Args:
        model: any module that takes tensors and returns tensors, on the CPU and in float32. What it returns may be a
            tensor, a tuple, a dictionary or an object with fields, such as a `ModelOutput` of Hugging Face; several
            tensors come back as a dictionary by name.
        example: what the model is called with: an input of shape (batch, ...), a tuple of arguments, or a dictionary
            of arguments by name, as in `model(**example)`. Arguments that are no tensors stay as they are.
        threads: how many one call may use, from 1 to 256, the caller's among them. A file does not keep the number.
        weights: how they are stored: `"word16"`, 16 bits for each active weight with a relative error of at most
            1/64; `"exact"`, as they are; `"int8"`, 8 bits for each active weight of linear and recurrent layers, whose
            inputs are rounded to 8 bits too, row by row as they come, and with `calibration` of convolutions; or
            `"auto"`, with 16 bits or with 8, whichever answers the example faster here and now.
        calibration: for `"int8"` and `"auto"`, batches of inputs such as the model will be given, each of them what
            `example` is; some hundred items are enough. Convolutions, and what follows them, then compute with 8 bits,
            rounded by the ranges that their values have for these inputs. A layer that loses too much has 16 bits;
            `runtime.quantization` says which, and how far the answers to the calibration inputs moved.
        byte_input: with it the runtime takes raw uint8 images too, and normalises them as it says. Float32 input is
            what the model takes, so normalised already.
        dynamic_shapes: for each input by name, the dimensions that may be of any size, and a name for each, as in
            `{"input_ids": {0: "batch", 1: "sequence"}}`; sizes of one name are equal. Without it, these are the batch
            and, where the model leaves them free, the lengths of sequences: all other dimensions of inputs that have
            up to three.
        states: inputs and the outputs that a :class:`Session` gives to them in its next call, by name, as in
            `{"h": "next_h"}`. Buffers that the model changes as it runs are states by themselves: the buffer `h` is the
            input `h` and the output `next_h`.

    Raises:
        ArgumentError: the engine cannot run the model (the message names all operations that it lacks, and the way
            out), an argument is out of range, or a weight is NaN.
        EngineMissingError: the native engine is not built into this installation.
        SparborError: the engine's answers are not the model's.

    >>> import torch, sparbor
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    >>> runtime = sparbor.deploy(model, torch.zeros(1, 64))
    >>> runtime(torch.zeros(3, 64)).shape
    torch.Size([3, 10])
    """
    _check_weights(weights, calibration)
    choose_kernel_set()  # a missing engine, or one forced that cannot run, should be the first thing to hear of
    model, call, guesses = _checked(model, example, dynamic_shapes)
    _check_byte_input(byte_input, call)
    batches = None if calibration is None else calibration_batches(model, calibration, call)
    warn_if_unfinished(model)
    expanded = _expanded(model)
    # No decorator does this, since warnings name the caller.
    with shown("deploy"), evaluating(model), evaluating(expanded), unchanged_buffers(model) as buffers:
        moved = permuted(expanded, call)

        def deployed(free: FreeSizes) -> Runtime:
            traced = _traced(moved, call, free)
            lowered = with_states(_lowered(moved, traced, free), states)
            from_start = dataclasses.replace(call, states=start_of(traced.states, buffers), buffers=traced.states)
            answers = Answers(model, from_start, lowered.axes_of_sizes(), byte_input)
            candidates = Candidates(lowered, from_start, answers, threads, byte_input, batches)
            if weights != Encoding.EXACT.value:
                candidates.runtime(Encoding.EXACT.value)  # a wrong operation shows that rounding would hide
            return candidates.runtime(weights).watched()

        return _first_that_works(deployed, guesses)


def lower(
    model: nn.Module,
    example: Tensor | Sequence[Any] | Mapping[str, Any],
    dynamic_shapes: Mapping[str, Mapping[int, str]] | None = None,
) -> UnpackedProgram:
    """The program for one item of the example, before its layers are packed; refuses what `deploy` refuses."""
    choose_kernel_set()
    model, call, guesses = _checked(model, example, dynamic_shapes)
    model = _expanded(model)
    with evaluating(model):
        moved = permuted(model, call)
        make = lambda free: _lowered(moved, _traced(moved, call, free), free)  # noqa: E731
        return _first_that_works(make, guesses).for_one_item(call.tensors)


def _checked(
    model: Any, example: Any, dynamic_shapes: Mapping[str, Mapping[int, str]] | None
) -> tuple[nn.Module, ModelCall, list[FreeSizes]]:
    """The model, how it is called, and what may be of any size: guesses, of which the first one that works counts."""
    model = getattr(model, "_orig_mod", model)  # which torch.compile may have wrapped
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: pass a torch.nn.Module")
    call = call_of(model, example)
    _check_model(model)
    if dynamic_shapes is None:
        return model, call, likely_free_sizes(call.tensors)
    return model, call, [checked_free_sizes(dynamic_shapes, call.tensors)]


def _lowered(model: nn.Module, traced: Traced, free: FreeSizes) -> UnpackedProgram:
    try:
        return Graph(traced, _kept_masks(model), free).lower()
    except UnnamedSizeError as error:
        raise ArgumentError(f"{error}, which is no number and no size of its own: fix it by dynamic_shapes") from None


def _traced(model: nn.Module, call: ModelCall, free: FreeSizes) -> Traced:
    tell("traces the model")
    with restored(model):
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                stand_in(module)
        return trace(model, call, free)


Made = TypeVar("Made")


def _first_that_works(make: Callable[[FreeSizes], Made], guesses: Sequence[FreeSizes]) -> Made:
    """What is made with the first guess that can be; if none can, what is wrong with the last, the most modest one."""
    for free in guesses[:-1]:
        try:
            return make(free)
        except SparborError:
            continue
    return make(guesses[-1])


def _expanded(model: nn.Module) -> nn.Module:
    """The model, or a copy whose weights are all dense."""
    if any(isinstance(module, PAINeuronModule) and module.compact for module in model.modules()):
        model = copy.deepcopy(model)
        for module in model.modules():
            if isinstance(module, PAINeuronModule):
                module.expand()
    return model


def _check_weights(weights: str, calibration: object) -> None:
    ways = (*(each.value for each in Encoding), AUTO)
    if weights not in ways:
        raise ArgumentError(f"weights={weights!r}: it must be one of {', '.join(ways)}")
    if calibration is not None and weights not in (Encoding.INT8.value, AUTO):
        raise ArgumentError(
            f'calibration is given, and weights={weights!r}, which round nothing by ranges: pass weights="int8" or'
            ' weights="auto", or no calibration'
        )


def _check_byte_input(byte_input: Any, call: ModelCall) -> None:
    if byte_input is None:
        return
    if not isinstance(byte_input, ByteInput):
        raise ArgumentError(f"byte_input is a {type(byte_input).__name__}: pass sparbor.ByteInput(mean, std)")
    example, *others = call.tensors.values()
    if others or example.dtype != torch.float32:
        raise ArgumentError("byte_input is for models of one float32 input: pass the example as it is normalised")
    if not byte_input.fits(tuple(example.shape[1:])):
        raise ArgumentError(
            f"byte_input has {len(byte_input.mean)} channels, and the example items of shape "
            f"{tuple(example.shape[1:])}: pass a mean and a std for each of the first dimension, or one for all"
        )


def _check_model(model: nn.Module) -> None:
    """All of it is float32 on the CPU, and can be traced."""
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"its {path!r}" if path else "it"
            raise ArgumentError(f"model cannot be traced, {where} is TorchScript: pass the nn.Module it was made from")
        if isinstance(module, PAINeuronModule):
            _check_mask(path or "layer", module)
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        _check_weight(name, tensor)


def _check_mask(name: str, layer: PAINeuronModule) -> None:
    shape = tuple(layer.parameter.shape)
    wanted = (layer.active_weights(),) if layer.compact else tuple(layer.mask.shape)
    if shape != wanted:
        raise ArgumentError(
            f"layer {name!r}: its weight has shape {shape}, and its mask is for {wanted}: a weight that takes the "
            "place of the layer's must have its shape"
        )


def _check_weight(name: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise ArgumentError(f"model has no weights yet, {name!r} has no shape: run one batch through it first")
    if tensor.device.type == "meta":
        raise ArgumentError(f"model has no weights, {name!r} is on meta: build it on the CPU and load them")
    if tensor.device.type != "cpu":
        raise ArgumentError(f"model is on {tensor.device} ({name!r}): the engine runs on the CPU, pass model.cpu()")
    wanted = torch.complex64 if tensor.is_complex() else torch.float32
    if (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype != wanted:
        raise ArgumentError(f"model is {tensor.dtype} ({name!r}): the engine computes in float32, pass model.float()")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within, the model is in evaluation mode, and computes in its own precision and without gradients."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        for module in training:
            module.training = True


def _kept_masks(model: nn.Module) -> dict[str, Tensor]:
    """By the weight's name, the masks that no forward pass multiplies by: a perforator keeps those weights zero."""
    return {
        f"{path}.{module.weight_path}".removeprefix("."): module.mask
        for path, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, PAINeuronModule) and module.controller is not None
    }
