"""ONNX files of networks that were trained sparse, by both of PyTorch's exporters."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

import sparbor
from bench.network_checks.check import Course
from bench.network_zoo.network import Inputs, Network
from bench.onnx_checks.check import Array, Row, check, failure
from sparbor.onnx.comparing import answers

EXPORTERS = {"torch.export": True, "TorchScript": False}  # whether it is the newer one
SHOWN, OTHERS = 2, 3  # items of the inputs that a file is made with, and of others that it is compared at


def check_network(network: Network, folder: Path) -> list[Row]:
    """A row for each exporter. ``failed`` says where it ended: training, export or what is checked."""
    base = {"name": network.name, "family": network.family, "package": network.package}
    try:
        model, course = _trained(network)
    except Exception as error:  # whatever it is, it is the result
        return [{**base, "exporter": exporter, **failure("train", error)} for exporter in EXPORTERS]
    return [{**base, "exporter": exporter, **_row(model, course, exporter, folder)} for exporter in EXPORTERS]


def _trained(network: Network) -> tuple[nn.Module, Course]:
    course = Course(network, network.lengths, ())
    course.build()
    course.train()
    return sparbor.unwrap(course.model).eval(), course


def _row(model: nn.Module, course: Course, exporter: str, folder: Path) -> Row:
    shown, others = _named(model, course.inputs(SHOWN)), _named(model, course.inputs(OTHERS))
    file = folder / f"{exporter}.onnx"
    try:
        any_batch = _export(model, shown, file, newer=EXPORTERS[exporter])
    except Exception as error:
        return failure("export", error)
    exported = onnx.load(file)
    read = {each.name for each in exported.graph.input}
    given = [{name: each.numpy() for name, each in some.items() if name in read} for some in (shown, others)]
    any_batch = any_batch and _runs(exported, given[1])
    try:
        return {"any_batch": any_batch, **check(file, given if any_batch else given[:1]), "failed": None, "error": None}
    except Exception as error:
        return {"any_batch": any_batch, **failure("check", error)}


def _named(model: nn.Module, items: Inputs) -> dict[str, Tensor]:
    """Inputs by the names of the arguments, in their order."""
    names = list(inspect.signature(model.forward).parameters)
    if isinstance(items, dict):
        return {name: items[name] for name in names if name in items}
    return dict(zip(names, items if isinstance(items, tuple) else (items,), strict=False))


def _export(model: nn.Module, inputs: Mapping[str, Tensor], file: Path, *, newer: bool) -> bool:
    """Write the file, for batches of any size if the exporter can, which is the answer."""
    try:
        _write(model, inputs, file, newer=newer, any_batch=True)
    except Exception:  # networks whose shapes depend on the batch
        _write(model, inputs, file, newer=newer, any_batch=False)
        return False
    return True


def _write(model: nn.Module, inputs: Mapping[str, Tensor], file: Path, *, newer: bool, any_batch: bool) -> None:
    options: dict[str, Any] = {"input_names": list(inputs), "opset_version": 18, "dynamo": newer}
    if newer:
        size = torch.export.Dim("batch")
        shapes = {name: {0: size} for name in inputs} if any_batch else None
        options |= {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    elif any_batch:
        options["dynamic_axes"] = {name: {0: "batch"} for name in inputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if newer:
            torch.onnx.export(model, (), file, kwargs=dict(inputs), **options)
        else:
            torch.onnx.export(_InOrder(model, list(inputs)), tuple(inputs.values()), file, **options)


class _InOrder(nn.Module):
    """A model that takes its arguments in an order, as the older exporter has to."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Tensor) -> Any:
        """What the model says."""
        return self.model(**dict(zip(self.names, given, strict=True)))


def _runs(exported: ModelProto, given: Mapping[str, Array]) -> bool:
    """Whether the file runs on other items: exporters say of some that they take any batch, and it is not so."""
    try:
        answers(exported, given)
    except Exception:  # of ONNX Runtime
        return False
    return True
