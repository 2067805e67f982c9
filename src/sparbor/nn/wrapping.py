"""A module around a layer: what it hands on, and where a model's layers stand with it and without it."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from torch import nn

from sparbor.errors import StateError
from sparbor.nn.layers import name_of_weight


class Around(nn.Module):
    """A module around the layer ``main_module``, whose attributes can be read from here."""

    main_module: nn.Module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "main_module":
                raise
            return getattr(self.main_module, name)


class Wrapper(Around):
    """A module around a layer for its ``weight_name``.

    For each masked weight of one layer there is one: ``main_module`` may be a wrapper for another weight.
    """

    weight_name: str

    @property
    def parameter(self) -> nn.Parameter:
        """What the optimizer changes: the weight, or where that is stored compactly, its active weights alone."""
        return cast(nn.Parameter, getattr(self.main_module, self.weight_name))

    @property
    def weight_path(self) -> str:
        """The weight's name among the parameters of this module."""
        return "main_module." * len(list(wrappers(self))) + self.weight_name


def wrappers(module: nn.Module) -> Iterator[Wrapper]:
    """``module``, if it is a wrapper, and those directly within it: one for each masked weight of one layer."""
    while isinstance(module, Wrapper):
        yield module
        module = module.main_module


def plain_layer(module: nn.Module) -> nn.Module:
    """The layer without what is wrapped around it."""
    for wrapper in wrappers(module):
        module = wrapper.main_module
    return module


class Place(NamedTuple):
    """A part of a model: its path, and the path it has in the plain model, where nothing is wrapped."""

    path: str
    plain_path: str
    module: nn.Module


def places(model: nn.Module) -> Iterator[Place]:
    """Every part of a model, one that stands in two places twice; a layer comes after what is wrapped around it."""
    wrapped = set()
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Wrapper):
            wrapped.add(f"{path}.main_module".removeprefix("."))
        parts = path.split(".")
        kept = [part for end, part in enumerate(parts, 1) if ".".join(parts[:end]) not in wrapped]
        yield Place(path, ".".join(kept), module)


def replace_part(model: nn.Module, plain_path: str, module: nn.Module) -> None:
    """Put ``module`` where the plain model has ``plain_path``."""
    parent, _, child = plain_path.rpartition(".")
    setattr(plain_layer(model.get_submodule(parent)), child, module)  # a dendritic parent only hands on its attributes


def refuse_other_state(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before anything is loaded: a state dict without this model's masks is refused as a whole."""
    for path, plain_path, layer in places(module):
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
