"""Which layers can become dendritic, and which of their parameters are the weights that a mask can lie on."""

from operator import attrgetter

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from sparbor.nn.weight_norm import norm_of
from sparbor.recipe.pattern import BlockPattern, Pattern
from sparbor.topology.matrix import outputs_first

ONE_WEIGHT = (
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
KINDS = "linear, convolutional, recurrent or attention"


def is_conv1d(layer: nn.Module) -> bool:
    """Whether it is the ``Conv1D`` of Hugging Face's GPT-2: a linear layer whose weight is ``(inputs, outputs)``."""
    return hasattr(layer, "nf") and any(kind.__name__ == "Conv1D" for kind in type(layer).__mro__)


def weight_names(layer: nn.Module) -> tuple[str, ...]:
    """The names of the layer's weights; none if it is not of a kind that can become dendritic.

    Attention has its query, key and value projections in one, ``in_proj_weight`` of shape ``(3 * embed_dim,
    embed_dim)``, or, where keys or values have other sizes, in three. Its output projection is a layer of its own.
    Recurrent layers have one that reads inputs, one that reads states, and perhaps one that projects states, for each
    of their layers and directions; the rows of all gates are in one matrix.
    """
    if isinstance(layer, nn.RNNBase):
        return tuple(name for name in layer._flat_weights_names if name.startswith("weight_"))
    if isinstance(layer, nn.RNNCellBase):
        return ("weight_ih", "weight_hh")
    if isinstance(layer, nn.MultiheadAttention):
        packed = layer._qkv_same_embed_dim
        return ("in_proj_weight",) if packed else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    return ("weight",) if isinstance(layer, ONE_WEIGHT) or is_conv1d(layer) else ()


def parameter_name(layer: nn.Module, weight: str) -> str:
    """Where below the layer the parameter lies that a mask of its ``weight`` lies on: the weight itself, as a rule.

    With weight norm it is the direction, which is zero where the weight is.
    """
    normed = norm_of(layer) if weight == "weight" else None
    return weight if normed is None else normed.direction


def parameter_of(layer: nn.Module, weight: str) -> nn.Parameter | None:
    """That parameter; ``None`` if the weight is computed of others in another way."""
    name = parameter_name(layer, weight)
    if "." not in name and name not in layer._parameters:
        return None
    parameter = attrgetter(name)(layer)
    return parameter if isinstance(parameter, nn.Parameter) else None


def name_of_weight(path: str, weight: str) -> str:
    """What reports call one weight of the layer at ``path``: by the layer alone where it has no other."""
    return path if weight == "weight" else f"{path}.{weight}".removeprefix(".")


def row_groups(layer: nn.Module, weight: str) -> int:
    """How many groups the weight's rows fall into, which no slot spans: a convolution's, or query, key and value."""
    return 3 if weight == "in_proj_weight" else int(getattr(layer, "groups", 1))


def is_transposed(layer: nn.Module) -> bool:
    """Whether the weight has its inputs in front."""
    return bool(getattr(layer, "transposed", False)) or is_conv1d(layer)


def parameters_with(layer: nn.Module, weight: str | None, *, recurse: bool = True) -> list[nn.Parameter]:
    """The weight and what counts with it: the layer's other parameters count with its first weight.

    Of a layer that cannot become dendritic (``weight=None``) it is all of them.
    """
    names = weight_names(layer)
    others = {name for name in names if name != weight}
    alone = weight is not None and weight != names[0]
    own_layer = "out_proj." if isinstance(layer, nn.MultiheadAttention) else ()  # which counts by itself
    counted = [
        parameter
        for name, parameter in layer.named_parameters(recurse=recurse)
        if name == weight or not (alone or name in others or name.startswith(own_layer))
    ]
    return counted if recurse else [*counted, *(p for part in parts_of_weight(layer) for p in part.parameters())]


def parts_of_weight(layer: nn.Module) -> list[nn.Module]:
    """Modules within the layer that hold what its weight is computed of."""
    normed = norm_of(layer)
    return [layer.get_submodule(normed.direction.rpartition(".")[0])] if normed and "." in normed.direction else []


def why_not_wrappable(layer: nn.Module, pattern: Pattern, weight: str | None = None) -> str | None:
    """The reason why the layer's ``weight`` (its first, if ``None``) cannot become dendritic; ``None`` if it can."""
    names = weight_names(layer)
    if not names:
        return _why_none(layer)
    if weight is not None and weight not in names:
        return f"it has no weight {weight!r}, only {', '.join(map(repr, names))}"
    parameter = parameter_of(layer, weight or names[0])
    if parameter is None:
        return "its weight is computed from other parameters (a parametrization)"
    if isinstance(parameter, nn.UninitializedParameter):
        return "its shape is not known yet; run one batch through the model first"
    if parameter.numel() == 0:
        return "it has no weights"
    groups = int(getattr(layer, "groups", 1))
    outputs = outputs_first(parameter.shape, groups, is_transposed(layer))[0]
    return pattern.refuses(outputs, groups) if isinstance(pattern, BlockPattern) else None


def why_better_dense(layer: nn.Module, pattern: Pattern) -> str | None:
    """The reason why a recipe leaves a layer dense that can be wrapped; ``None`` if there is none.

    Of a convolution with fewer outputs than a slot has weights the engine would compute the missing ones too.
    """
    weight = parameter_of(layer, "weight")
    if weight is None or not isinstance(layer, nn.modules.conv._ConvNd) or not isinstance(pattern, BlockPattern):
        return None
    outputs = outputs_first(weight.shape, int(getattr(layer, "groups", 1)), is_transposed(layer))[0]
    enough = outputs >= pattern.neuron_block
    return None if enough else f"only {outputs} outputs, a {pattern.unit} needs {pattern.neuron_block}"


def _why_none(layer: nn.Module) -> str:
    """Why a layer has no weight that a mask can lie on."""
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return "an embedding: its rows are looked up, not multiplied"
    own = list(layer.parameters(recurse=False))
    if isinstance(layer, ParametrizationList):
        return "a parametrization: another layer's weight is computed of it"
    if own and all(not isinstance(each, nn.UninitializedParameter) and each.dim() < 2 for each in own):
        return "it has no matrix of weights"
    return f"not a {KINDS} layer"
