"""Grown dendrites: sparse, non-linear sub-units that compute before the neurons of a layer do; the plain model back."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from sparbor.errors import ArgumentError, StateError
from sparbor.nn.layers import ONE_WEIGHT
from sparbor.nn.named_layers import named_layers, replace_part
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.weight_norm import norm_of
from sparbor.nn.wrapping import Around, plain_layer


class Dendrite(nn.Module):
    """One generation of a layer's dendrites, one for each neuron (channel): ``z = tanh(D x + c + E z_earlier)``.

    ``inputs`` (D, c) is a layer of the same kind and geometry as the one it grows on; ``earlier`` (E) reads the outputs
    of earlier generations, in a convolution those at the same place. Both are sparse. ``strength`` (v) is what the
    neuron adds of each dendrite's output.
    """

    def __init__(self, main: PAINeuronModule, generation: int, random: torch.Generator) -> None:
        super().__init__()
        name = f"{main.name}.dendrites.{generation}"
        self.inputs: Any = PAINeuronModule(_like(main, random), f"{name}.inputs", pattern=main.pattern)
        self.earlier: Any = None
        if generation > 0:
            mixing = _pointwise(main, generation * main.outputs_first[0], random)
            self.earlier = PAINeuronModule(mixing, f"{name}.earlier", pattern=main.pattern)
        planes = (1,) * (main.weight.dim() - 2)
        self.strength = nn.Parameter(main.weight.new_zeros(main.outputs_first[0], *planes))
        self.train(main.training)

    def forward(self, earlier: list[Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Its output, of the same shape as the layer's; ``earlier`` are those of the generations before it."""
        excitation = self.inputs(*args, **kwargs)
        if self.earlier is not None:
            axis = excitation.dim() - self.strength.dim()
            excitation = excitation + self.earlier(earlier[0] if len(earlier) == 1 else torch.cat(earlier, axis))
        return torch.tanh(excitation)

    def order_of_earlier(self, neurons: Tensor) -> Tensor:
        """The order of what ``earlier`` reads when the neurons of every generation are in this one."""
        count = cast(int, self.earlier.weight.shape[1]) // len(neurons)
        return torch.cat([neurons + generation * len(neurons) for generation in range(count)])

    def layers(self) -> Iterator[PAINeuronModule]:
        """Its sparse layers."""
        yield self.inputs
        if self.earlier is not None:
            yield self.earlier


class Dendrites(nn.ModuleList):
    """A layer's generations of dendrites, made for all that may grow; the first ``grown`` of them compute.

    The buffer ``grown`` takes their number through state dicts.
    """

    grown: Tensor

    def __init__(self, generations: Iterable[nn.Module], grown: int = 0) -> None:
        super().__init__(generations)
        self.register_buffer("grown", torch.tensor(grown, device=next(self.parameters()).device))
        self.count = grown  # the buffer as a number, which tracing and compiling need
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]

    def grow_to(self, count: int) -> None:
        """Let the first ``count`` generations compute."""
        self.count = count
        self.grown.fill_(count)

    def permute_neurons(self, neurons: Tensor | None, inputs: Tensor | None) -> None:
        """Take the order in which the pattern sees the main layer's neurons and inputs."""
        for dendrite in self.generations():
            dendrite.inputs.permute_neurons(neurons, inputs)
            if dendrite.earlier is not None and neurons is not None:
                dendrite.earlier.permute_neurons(neurons, dendrite.order_of_earlier(neurons))

    def generations(self) -> list[Dendrite]:
        """All, grown or not."""
        return [cast(Dendrite, dendrite) for dendrite in self]

    def active(self) -> list[Dendrite]:
        """The generations that compute."""
        return self.generations()[: self.count]

    def forward(self, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the neurons give, ``y``, with what their dendrites make of the same input."""
        outputs: list[Tensor] = []
        for dendrite in self.active():
            z = dendrite(outputs, *args, **kwargs)
            y = y + dendrite.strength * z
            outputs.append(z)
        return y

    def unwrap(self, layer: nn.Module) -> nn.Module:
        """The plain ``layer``; with dendrites that have grown, made of plain layers too, a :class:`GrownLayer`."""
        for dendrite in self.generations():
            dendrite.inputs = dendrite.inputs.unwrap()
            if dendrite.earlier is not None:
                dendrite.earlier = dendrite.earlier.unwrap()
        return GrownLayer(layer, Dendrites(self.active(), self.count)) if self.count else layer


class GrownLayer(Around):
    """A plain layer and the dendrites that grew on it: what :func:`sparbor.unwrap` leaves of such a layer."""

    def __init__(self, main_module: nn.Module, dendrites: Dendrites) -> None:
        super().__init__()
        self.main_module = main_module
        self.dendrites = dendrites
        self.training = main_module.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's output with its dendrites'."""
        return self.dendrites(self.main_module(*args, **kwargs), *args, **kwargs)


def unwrap(model: nn.Module) -> nn.Module:
    """Give the plain model back, in place: dropped weights are zero, masks and hooks are gone.

    Works on a model that was perforated, on one whose layers were wrapped by hand, and on copies of both. A layer that
    has grown dendrites becomes a :class:`sparbor.nn.dendrites.GrownLayer` of plain layers, which computes the
    same; :func:`sparbor.nn.dendrites.regrow` makes one to load its state dict into.

    Args:
        model: the model; what is returned is it, or, where it is itself a wrapped layer, the layer within.

    Raises:
        ArgumentError: it is no ``torch.nn.Module``.

    >>> import torch, sparbor
    >>> model = torch.nn.Sequential(sparbor.PAINeuronModule(torch.nn.Linear(64, 32), "hidden"))
    >>> sparbor.unwrap(model)
    Sequential(
      (0): Linear(in_features=64, out_features=32, bias=True)
    )
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
    if isinstance(model, PAINeuronModule):
        model = model.unwrap()
    grown = parts_of_dendrites(model)  # which go with the layers that they grew on
    for _, path, module in list(named_layers(model)):
        if isinstance(module, PAINeuronModule) and id(module) not in grown:
            replace_part(model, path, module.unwrap())
    return model


def regrow(model: nn.Module, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Give a plain model the dendrites of the unwrapped model that ``state_dict`` is from, in place, to load it then.

    >>> from torch import nn
    >>> model = regrow(nn.Sequential(nn.Linear(4, 3)), {"0.dendrites.grown": torch.tensor(2)})
    >>> [tuple(parameter.shape) for parameter in model[0].dendrites[1].parameters()]
    [(3,), (3, 4), (3,), (3, 3)]
    """
    for key, grown in state_dict.items():
        path, _, end = key.rpartition(".dendrites.")
        if end == "grown":
            main = PAINeuronModule(model.get_submodule(path), path)
            main.dendrites = Dendrites([Dendrite(main, n, torch.Generator()) for n in range(int(grown))], int(grown))
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, main.unwrap())
    return model


def why_not_growable(layer: nn.Module) -> str | None:
    """The reason why no dendrites can grow on a layer that can be wrapped, or ``None``."""
    if type(layer) not in ONE_WEIGHT:  # a subclass may compute something else than the layer that it inherits from
        return f"not a Linear, Conv1d/2d/3d or ConvTranspose1d/2d/3d layer itself, but a {type(layer).__name__}"
    return None if norm_of(layer) is None else "its weight is computed (weight norm)"


def earlier_shape(main: Sequence[int], generation: int) -> tuple[int, ...]:
    """The shape of the weight that reads earlier generations, on a layer whose weight has shape ``main``."""
    outputs, _, *kernel = main
    return (outputs, generation * outputs, *[1] * len(kernel))


def parts_of_dendrites(model: nn.Module) -> set[int]:
    """The ids of all modules within dendrites, grown or not."""
    return {id(part) for each in model.modules() if isinstance(each, Dendrites) for part in each.modules()}


def ungrown_parameters(model: nn.Module) -> set[int]:
    """The ids of parameters that belong to generations which have not grown: they count nowhere."""
    return {
        id(parameter)
        for part in model.modules()
        if isinstance(part, Dendrites)
        for dendrite in part.generations()[part.count :]
        for parameter in dendrite.parameters()
    }


def dendritic_layers(model: nn.Module) -> list[PAINeuronModule]:
    """The dendritic layers in their order, those of grown dendrites among them."""
    ungrown = ungrown_parameters(model)
    return [m for m in model.modules() if isinstance(m, PAINeuronModule) and id(m.parameter) not in ungrown]


def _after_load(module: nn.Module, _: Any) -> None:
    assert isinstance(module, Dendrites)  # it is registered on no other class
    count = int(module.grown)
    if not 0 <= count <= len(module):
        raise StateError(f"the state dict is damaged: {count} generations of dendrites have grown of {len(module)}")
    module.count = count


def _like(main: PAINeuronModule, random: torch.Generator) -> nn.Module:
    """A new layer of the same kind, geometry, type and device, with a bias and weights of its own."""
    layer = plain_layer(main)
    settings: dict[str, Any] = {"device": main.weight.device, "dtype": main.weight.dtype}
    names = ("in_features", "out_features") if isinstance(layer, nn.Linear) else _GEOMETRY
    settings |= {name: getattr(layer, name) for name in names}
    if getattr(layer, "transposed", False):
        settings["output_padding"] = layer.output_padding
    made: nn.Module = skip_init(type(layer), **settings)  # type: ignore[no-untyped-call]
    return _initialised(made, math.prod(main.outputs_first[1:]), random)


def _pointwise(main: PAINeuronModule, inputs: int, random: torch.Generator) -> nn.Module:
    """A layer from ``inputs`` features or channels to as many as the main one gives, at the same place, no bias."""
    planes = main.weight.dim() - 2
    sizes = (inputs, main.outputs_first[0], *([1] if planes else []))
    place = {"device": main.weight.device, "dtype": main.weight.dtype}
    made: nn.Module = skip_init(_POINTWISE[planes], *sizes, bias=False, **place)  # type: ignore[no-untyped-call]
    return _initialised(made, inputs, random)


@torch.no_grad()
def _initialised(layer: nn.Module, fan_in: int, random: torch.Generator) -> nn.Module:
    """Weights and biases uniform within ``1 / sqrt(fan_in)``, as PyTorch's layers are, from a generator of our own."""
    for parameter in layer.parameters():
        draw = torch.rand(parameter.shape, generator=random, dtype=torch.float32)
        parameter.copy_((2 * draw - 1) / fan_in**0.5)
    return layer


_GEOMETRY = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
_POINTWISE: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # by the planes' dimensions
