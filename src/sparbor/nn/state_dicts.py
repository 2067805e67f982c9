"""State dicts of dendritic models."""

from typing import Any

from torch import nn

from sparbor.errors import StateError
from sparbor.nn.layers import name_of_weight
from sparbor.nn.named_layers import named_layers
from sparbor.nn.wrapping import Wrapper


def refuse_other_state(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before anything is loaded: a state dict without this model's masks is refused as a whole."""
    for path, plain_path, layer in named_layers(module):
        if not isinstance(layer, Wrapper):
            continue
        dense = f"{prefix}{plain_path}".removesuffix(".")
        if _below(f"{prefix}{path}", "mask") not in state_dict and _below(dense, layer.weight_name) in state_dict:
            raise StateError(
                f"the state dict holds a dense layer {name_of_weight(dense, layer.weight_name)!r}, the model a"
                " dendritic one: load a dense checkpoint before sparbor.perforate(), or into sparbor.unwrap(model)"
            )


def _below(path: str, name: str) -> str:
    return f"{path.removesuffix('.')}.{name}".removeprefix(".")
