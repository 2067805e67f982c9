"""Which layers can become dendritic, and which of their parameters are the weights that a mask can lie on."""

from torch import nn

from sparbor.recipe.pattern import Pattern, Slots
from sparbor.topology.matrix import outputs_first

ONE_WEIGHT = (
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
KINDS = "Linear, Conv1d/2d/3d, ConvTranspose1d/2d/3d or MultiheadAttention"


def weight_names(layer: nn.Module) -> tuple[str, ...]:
    """The names of the layer's weights; none if it is not of a kind that can become dendritic.

    Attention has its query, key and value projections in one, ``in_proj_weight`` of shape ``(3 * embed_dim,
    embed_dim)``, or, where keys or values have other sizes, in three. Its output projection is a layer of its own.
    """
    if isinstance(layer, nn.MultiheadAttention):
        packed = layer._qkv_same_embed_dim
        return ("in_proj_weight",) if packed else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    return ("weight",) if isinstance(layer, ONE_WEIGHT) else ()


def name_of_weight(path: str, weight: str) -> str:
    """What reports call one weight of the layer at ``path``: by the layer alone where it has no other."""
    return path if weight == "weight" else f"{path}.{weight}".removeprefix(".")


def row_groups(layer: nn.Module, weight: str) -> int:
    """How many groups the weight's rows fall into, which no slot spans: a convolution's, or query, key and value."""
    return 3 if weight == "in_proj_weight" else int(getattr(layer, "groups", 1))


def is_transposed(layer: nn.Module) -> bool:
    """Whether the weight has its inputs in front."""
    return bool(getattr(layer, "transposed", False))


def parameters_with(layer: nn.Module, weight: str | None, *, recurse: bool = True) -> list[nn.Parameter]:
    """The weight and what counts with it: the layer's other parameters count with its first weight.

    Of a layer that cannot become dendritic (``weight=None``) it is all of them.
    """
    names = weight_names(layer)
    others = {name for name in names if name != weight}
    alone = weight is not None and weight != names[0]
    own_layer = "out_proj." if isinstance(layer, nn.MultiheadAttention) else ()  # which counts by itself
    return [
        parameter
        for name, parameter in layer.named_parameters(recurse=recurse)
        if name == weight or not (alone or name in others or name.startswith(own_layer))
    ]


def why_not_wrappable(layer: nn.Module, pattern: Pattern, weight: str | None = None) -> str | None:
    """The reason why the layer's ``weight`` (its first, if ``None``) cannot become dendritic; ``None`` if it can."""
    names = weight_names(layer)
    if not names:
        return f"not a {KINDS} layer"
    if weight is not None and weight not in names:
        return f"it has no weight {weight!r}, only {', '.join(map(repr, names))}"
    parameter = layer._parameters.get(weight or names[0])
    if parameter is None:
        return "its weight is computed from other parameters (a parametrization)"
    if isinstance(parameter, nn.UninitializedParameter):
        return "its shape is not known yet; run one batch through the model first"
    if parameter.numel() == 0:
        return "it has no weights"
    groups = int(getattr(layer, "groups", 1))
    outputs = outputs_first(parameter.shape, groups, is_transposed(layer))[0]
    return pattern.refuses(outputs, groups) if isinstance(pattern, Slots) else None
