"""Weights that several layers of a model have, and whether one mask suits all of them."""

from torch import nn

from sparbor.nn.layers import is_conv1d, is_transposed
from sparbor.nn.named_layers import named_layers, own_parameters, plain_name
from sparbor.nn.wrapping import plain_layer


class Ties:
    """Which layers of a model hold which parameter."""

    def __init__(self, model: nn.Module) -> None:
        self._modules: dict[str, nn.Module] = {}  # with what is wrapped around them
        self._layers: dict[str, nn.Module] = {}
        self._holders: dict[int, list[str]] = {}
        for _, path, module in named_layers(model):
            self._modules.setdefault(path, module)
            self._layers[path] = plain_layer(module)
            for parameter in own_parameters(module):
                self._holders.setdefault(id(parameter), []).append(path)

    def holders(self, weight: nn.Parameter) -> list[str]:
        """Where the parameter is held; a layer in two places is named twice."""
        return self._holders[id(weight)]

    def alike(self, weight: nn.Parameter) -> bool:
        """Whether one mask suits all who have it: linear layers of one orientation, or one layer alone."""
        modules = {self._modules[path] for path in self.holders(weight)}
        layers = {self._layers[path] for path in self.holders(weight)}
        if len(modules) == 1:
            return True
        linear = all(isinstance(layer, nn.Linear) or is_conv1d(layer) for layer in layers)
        return linear and len(layers) == len(modules) and len(set(map(is_transposed, layers))) == 1

    def owner(self, layer: nn.Module, weight: nn.Parameter) -> str | None:
        """The name of the layer that gets the mask of a weight that suits all, if that is not ``layer`` itself."""
        first = self.holders(weight)[0]
        layers = {self._layers[path] for path in self.holders(weight)}
        return None if len(layers) == 1 or self._layers[first] is layer else plain_name(first)

    def other_places(self, layer: nn.Module, path: str, weight: nn.Parameter) -> tuple[str, ...]:
        """Where else than at ``path`` the very same layer stands."""
        if len(self.holders(weight)) == 1:
            return ()
        return tuple(place for place, each in self._layers.items() if each is layer and place != path)

    def said(self, path: str, weight: nn.Parameter) -> str:
        """In words, that others than the layer at ``path`` have the weight too, and what they are."""
        others = [other for other in self.holders(weight) if other != path]
        named = " and ".join(f"{plain_name(other)!r} ({type(self._layers[other]).__name__})" for other in others)
        return f"its weight is tied: {named} use{'s' if len(others) == 1 else ''} it too"
