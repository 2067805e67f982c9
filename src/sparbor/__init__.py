"""Dendritic networks for PyTorch: layers that start dense and turn sparse while they learn.

The names are imported when they are first used, so that parts which need no torch load without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparbor.extras import brought_by

if TYPE_CHECKING:
    from sparbor.calibration.calibration import calibrated as calibrated
    from sparbor.engine.runtime import Runtime as Runtime
    from sparbor.engine.runtime import load as load
    from sparbor.engine.session import Session as Session
    from sparbor.errors import SparborError as SparborError
    from sparbor.lower.decoder import decoder as decoder
    from sparbor.lower.deploy import deploy as deploy
    from sparbor.nn.dendrites import unwrap as unwrap
    from sparbor.nn.neuron import PAINeuronModule as PAINeuronModule
    from sparbor.oneshot.sparsify import sparsify as sparsify
    from sparbor.onnx_import.deploying import from_onnx as from_onnx
    from sparbor.pretrained.loading import load_pretrained as load_pretrained
    from sparbor.pretrained.saving import save_pretrained as save_pretrained
    from sparbor.program.byte_input import ByteInput as ByteInput
    from sparbor.recipe.budget import Budget as Budget
    from sparbor.recipe.growth import Growth as Growth
    from sparbor.recipe.pattern import NM as NM
    from sparbor.recipe.pattern import Quads as Quads
    from sparbor.recipe.pattern import Slots as Slots
    from sparbor.recipe.pattern import Unstructured as Unstructured
    from sparbor.recipe.recipe import Recipe as Recipe
    from sparbor.recipe.schedule import Schedule as Schedule
    from sparbor.train.distillation import distillation_loss as distillation_loss
    from sparbor.train.perforator import Perforator as Perforator
    from sparbor.train.perforator import perforate as perforate
    from sparbor.train.trainer_callback import PerforatingCallback as PerforatingCallback

__version__ = "0.2.0"

_HOME = {
    "NM": "recipe.pattern",
    "Budget": "recipe.budget",
    "ByteInput": "program.byte_input",
    "Growth": "recipe.growth",
    "PAINeuronModule": "nn.neuron",
    "PerforatingCallback": "train.trainer_callback",
    "Perforator": "train.perforator",
    "Quads": "recipe.pattern",
    "Recipe": "recipe.recipe",
    "Runtime": "engine.runtime",
    "Schedule": "recipe.schedule",
    "Session": "engine.session",
    "Slots": "recipe.pattern",
    "SparborError": "errors",
    "Unstructured": "recipe.pattern",
    "calibrated": "calibration.calibration",
    "decoder": "lower.decoder",
    "deploy": "lower.deploy",
    "distillation_loss": "train.distillation",
    "from_onnx": "onnx_import.deploying",
    "load": "engine.runtime",
    "load_pretrained": "pretrained.loading",
    "perforate": "train.perforator",
    "save_pretrained": "pretrained.saving",
    "sparsify": "oneshot.sparsify",
    "unwrap": "nn.dendrites",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sparbor' has no attribute {name!r}")
    with brought_by("train", f"sparbor.{name}"):
        home = import_module(f"sparbor.{_HOME[name]}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
