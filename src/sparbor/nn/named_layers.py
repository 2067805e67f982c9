"""Where a model's layers stand, with what is wrapped around them and without it."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from sparbor.nn.wrapping import Wrapper, plain_layer


class NamedLayer(NamedTuple):
    """A part of a model: its path, and the path it has in the plain model, where nothing is wrapped."""

    path: str
    plain_path: str
    module: nn.Module


def named_layers(model: nn.Module) -> Iterator[NamedLayer]:
    """Every part of a model, one that stands in two places twice; a layer comes after what is wrapped around it."""
    wrapped = set()
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, Wrapper):
            wrapped.add(f"{path}.main_module".removeprefix("."))
        parts = path.split(".")
        kept = [part for end, part in enumerate(parts, 1) if ".".join(parts[:end]) not in wrapped]
        yield NamedLayer(path, ".".join(kept), module)


def replace_part(model: nn.Module, plain_path: str, module: nn.Module) -> None:
    """Put ``module`` where the plain model has ``plain_path``."""
    parent, _, child = plain_path.rpartition(".")
    setattr(plain_layer(model.get_submodule(parent)), child, module)  # a dendritic parent only hands on its attributes


def plain_name(name: str) -> str:
    """The name of a layer without what ``torch.compile`` puts into it."""
    return name.replace("_orig_mod.", "")


def holders_of_parameters(model: nn.Module) -> defaultdict[int, list[str]]:
    """At which places of the model each parameter is held, by its id; a layer in two places is named twice."""
    holders = defaultdict[int, list[str]](list)
    for _, path, module in named_layers(model):
        for parameter in own_parameters(module):
            holders[id(parameter)].append(plain_name(path))
    return holders


def own_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that the module itself holds, not those of modules within it."""
    return (parameter for parameter in module._parameters.values() if parameter is not None)
