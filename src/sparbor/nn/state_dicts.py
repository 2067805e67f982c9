"""State dicts of dendritic models hold dense weights and masks, however the weights are stored."""

from typing import Any

import torch
from torch import nn

from sparbor.errors import StateError
from sparbor.nn.layers import name_of_weight
from sparbor.nn.masked_layer import MaskedLayer
from sparbor.nn.masks import gather
from sparbor.nn.named_layers import named_layers
from sparbor.nn.storage import positions_to_store, store
from sparbor.nn.wrapping import Wrapper


def refuse_other_state(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before anything is loaded: a state dict without this model's masks is refused as a whole."""
    for path, plain_path, layer in named_layers(module):
        if not isinstance(layer, Wrapper):
            continue
        dense = f"{prefix}{plain_path}".removesuffix(".")
        if _below(f"{prefix}{path}", "mask") not in state_dict and _below(dense, layer.parameter_name) in state_dict:
            raise StateError(
                f"the state dict holds a dense layer {name_of_weight(dense, layer.weight_name)!r}, the model a"
                " dendritic one: load a dense checkpoint before sparbor.perforate(), or into sparbor.unwrap(model)"
            )


def _below(path: str, name: str) -> str:
    return f"{path.removesuffix('.')}.{name}".removeprefix(".")


def save_dense(module: nn.Module, state_dict: dict[str, Any], prefix: str, _: Any) -> None:
    """After a layer has put its parameter into a state dict: the dense weight takes its place."""
    assert isinstance(module, MaskedLayer)  # it is registered on no other class
    if module.compact:
        state_dict[prefix + module.weight_path] = module.weight.detach()


def take_dense(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a dense weight is loaded into compact storage: take its mask, and of the weight what that keeps."""
    assert isinstance(module, MaskedLayer)
    names = (module.weight_path, "mask", "dendrite_mode")
    weight, mask, sparse = (state_dict.get(prefix + name) for name in names)
    if module.storage == "masked" or weight is None or mask is None or sparse is None:
        return
    if not mask.shape == weight.shape == module.mask.shape:
        return  # torch says what does not fit
    mask = mask.to(module.mask.device, torch.bool)
    positions = positions_to_store(module, mask, bool(sparse))
    if positions is not None or module.compact:
        store(module, positions)
        module.overwrite_mask(mask, positions)
    if positions is not None:
        state_dict[prefix + module.weight_path] = gather(weight, positions.to(weight.device))


def mask_loaded(module: nn.Module, _: Any) -> None:
    """After a layer has been loaded: what its mask drops is zero."""
    assert isinstance(module, MaskedLayer)
    module.apply_mask()
