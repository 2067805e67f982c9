"""Dendritic networks for PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparbor.lowering import deploy as deploy
    from sparbor.runtime import Runtime as Runtime
    from sparbor.runtime import load as load

# Where each public name lives. They are imported when they are first used, so that running a model needs no
# torch.
_HOMES = {"deploy": "lowering", "load": "runtime", "Runtime": "runtime"}

__all__ = ["Runtime", "deploy", "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparbor' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparbor.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
