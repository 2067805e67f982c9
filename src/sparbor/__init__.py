"""Dendritic networks for PyTorch: layers that start dense and turn sparse while they learn.

The names are imported when they are first used, so that parts which need no torch load without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparbor.budget import Budget as Budget
    from sparbor.byte_input import ByteInput as ByteInput
    from sparbor.calibration import calibrated as calibrated
    from sparbor.errors import SparborError as SparborError
    from sparbor.growth import Growth as Growth
    from sparbor.lowering import deploy as deploy
    from sparbor.modules import PAINeuronModule as PAINeuronModule
    from sparbor.pattern import NM as NM
    from sparbor.pattern import Slots as Slots
    from sparbor.pattern import Unstructured as Unstructured
    from sparbor.perforator import Perforator as Perforator
    from sparbor.perforator import perforate as perforate
    from sparbor.recipe import Recipe as Recipe
    from sparbor.runtime import Runtime as Runtime
    from sparbor.runtime import load as load
    from sparbor.schedule import Schedule as Schedule
    from sparbor.unwrapping import unwrap as unwrap

__version__ = "0.1.0"

_HOME = {
    "Budget": "budget",
    "ByteInput": "byte_input",
    "Growth": "growth",
    "NM": "pattern",
    "PAINeuronModule": "modules",
    "Perforator": "perforator",
    "Recipe": "recipe",
    "Runtime": "runtime",
    "Schedule": "schedule",
    "Slots": "pattern",
    "SparborError": "errors",
    "Unstructured": "pattern",
    "calibrated": "calibration",
    "deploy": "lowering",
    "load": "runtime",
    "perforate": "perforator",
    "unwrap": "unwrapping",
}

__all__ = [
    "NM",
    "Budget",
    "ByteInput",
    "Growth",
    "PAINeuronModule",
    "Perforator",
    "Recipe",
    "Runtime",
    "Schedule",
    "Slots",
    "SparborError",
    "Unstructured",
    "calibrated",
    "deploy",
    "load",
    "perforate",
    "unwrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sparbor' has no attribute {name!r}")
    return getattr(import_module(f"sparbor.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
