"""How a layer's weight is stored and used: dense under its mask, as its active weights alone, or by synapses alone.

In *masked* storage the layer's parameter is its dense weight. In *compact* storage it is the vector of its active
weights, in the order of its mask, as long as no more than half of the weights are active. So the optimizer works on
those alone, and weights, gradients and its state take memory by the density. Of either sort training's kernels can
compute the layer by its synapses alone.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparbor.errors import ArgumentError
from sparbor.nn.masked_layer import MaskedLayer
from sparbor.nn.masks import Mover, gather, pays_alone, positions_of
from sparbor.synapses import dispatch
from sparbor.synapses.lists import ConvParams


def run(layer: MaskedLayer, args: Any, kwargs: Any) -> Any:
    """What the layer within computes of its active weights.

    Whoever controls a layer in masked storage keeps its dropped weights at zero; else they are masked here, as in
    copies, and in layers that are wrapped by hand.
    """
    if layer.compact:
        if torch.compiler.is_compiling():
            _refuse_compiling()
        return functional_call(layer.main_module, {layer.weight_name: layer.weight}, args, kwargs)
    if layer.controller is not None:
        return layer.main_module(*args, **kwargs)
    return functional_call(layer.main_module, _masked_weights(layer), args, kwargs)


def run_synapses(layer: MaskedLayer, params: ConvParams, args: Any, kwargs: Any) -> Tensor | None:
    """The output by the layer's synapses alone, where that is faster and the gradient of nothing else is wanted.

    ``None`` if the layer has to be computed in another way.
    """
    controller, mask = layer.controller, layer.mask
    if controller is None or torch.compiler.is_compiling() or kwargs or len(args) != 1:
        return None
    if mask.device.type != "cpu" or not layer.dendrite_mode:
        return None
    (x,), within, count = args, layer.main_module, mask.numel()
    density = layer.active_weights() / count
    growing = controller.needs_gradient()
    if not dispatch.pays(within, params, count, density, x):
        return None
    if growing and not dispatch.pays_in_growth(within, count, x):
        return None
    positions = layer.active_positions()  # which refuses a mask that was changed in place: kernels would go by it
    synapses = layer.facts.synapses(mask, params)
    if growing:
        return dispatch.compute_in_growth(cast(nn.Linear, within), layer.weight, synapses, x)
    weights = layer.parameter if layer.compact else gather(layer.parameter, positions)
    return dispatch.compute(within, weights, synapses, x)


def positions_to_store(layer: MaskedLayer, mask: Tensor, sparse: bool) -> Tensor | None:
    """Where the weights lie that the layer is to store alone under this mask; ``None`` if it is to store all."""
    compact = sparse and layer.storage == "compact" and pays_alone(mask)
    return positions_of(mask) if compact else None


@torch.inference_mode(False)
@torch.no_grad()
def store(layer: MaskedLayer, positions: Tensor | None) -> None:
    """Exchange the layer's parameter for one of the weights at these positions, or of all weights."""
    old = layer.parameter
    move = Mover(layer.active_positions() if layer.compact else None, positions, layer.mask.shape)
    if not layer.compact:
        layer.drop(~layer.mask)
    new = nn.Parameter(move(old.detach(), 0.0), requires_grad=old.requires_grad)
    vars(new).update(vars(old))
    if layer.controller is not None:
        layer.controller.parameter_replaced(old, new, move)  # which may refuse it
    layer.hold(new, compact=positions is not None)


def _masked_weights(layer: MaskedLayer) -> dict[str, Tensor]:
    """By their names in ``main_module``; attention reads the weight of the projection within it itself."""
    masked = {layer.weight_path: layer.parameter * layer.mask}
    for path, module in layer.main_module.named_modules(prefix="main_module"):
        if isinstance(module, MaskedLayer):
            masked[f"{path}.{module.weight_path}"] = module.parameter * module.mask
    return {path.removeprefix("main_module."): weight for path, weight in masked.items()}


@torch.compiler.disable  # type: ignore[untyped-decorator]  # so that it is called, and not traced
def _refuse_compiling() -> None:
    raise ArgumentError(
        "storage='compact' exchanges parameters while the model trains, and torch.compile holds on to those that it"
        " finds; compile a model with storage='masked', or call sparbor.unwrap(model) first"
    )
