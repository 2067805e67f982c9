"""A module around a layer, and what it hands on."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, cast

from torch import nn


class Around(nn.Module):
    """A module around the layer ``main_module``, whose attributes can be read from here."""

    main_module: nn.Module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "main_module" or name.startswith("__"):  # how a parametrized layer is copied is not for this one
                raise
            return getattr(self.main_module, name)


class Wrapper(Around):
    """A module around a layer for its ``weight_name``.

    For each masked weight of one layer there is one: ``main_module`` may be a wrapper for another weight.
    """

    weight_name: str
    parameter_name: str  # of what the mask lies on: the weight, or what that is computed of

    @property
    def parameter(self) -> nn.Parameter:
        """What the optimizer changes: the weight, or where that is stored compactly, its active weights alone.

        With weight norm it is the weight's direction.
        """
        if "." in self.parameter_name:
            return cast(nn.Parameter, attrgetter(self.parameter_name)(self.main_module))
        return cast(nn.Parameter, getattr(self.main_module, self.parameter_name))

    @property
    def weight_path(self) -> str:
        """The parameter's name among those of this module."""
        return "main_module." * len(list(wrappers(self))) + self.parameter_name


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
