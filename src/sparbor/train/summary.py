"""What ``print(perforator)`` says: the model's layers, what becomes of each, and which of them stay as they are."""

from collections.abc import Mapping, Sequence

from torch import nn

from sparbor.allocation.survey import LayerEligibility, folded
from sparbor.lower.sparse_limit import sparse_limit
from sparbor.nn.named_layers import plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.pattern import Slots
from sparbor.recipe.recipe import Recipe


def table(findings: Sequence[LayerEligibility], recipe: Recipe, layers: Mapping[str, PAINeuronModule]) -> str:
    """The findings as lines of text, one a layer: the density that it aims at, and that of its mask now."""
    rows: list[tuple[str, ...]] = [("layer", "kind", "parameters", "aims at", "density", "dendritic")]
    rows += [_row(finding, recipe, layers.get(finding.name)) for finding in findings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>>><", widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *_of_all(recipe)])


def _row(finding: LayerEligibility, recipe: Recipe, layer: PAINeuronModule | None) -> tuple[str, ...]:
    what = finding.name, finding.kind, f"{finding.weights:,}"
    if not finding.taken:
        return *what, "", "", f"no: {finding.reason}"
    if layer is None:  # dendrites that have not grown
        return *what, "", "", "yes"
    now = _percent(1 - layer.get_sparsity())
    if _is_shared(recipe):
        return *what, "shared", now, "yes"
    fate = "yes" if layer.sparsity else f"yes, but {_keeps_all(recipe)}"
    return *what, _percent(1 - layer.sparsity), now, fate


def dense_at_last(
    model: nn.Module,
    findings: Sequence[LayerEligibility],
    recipe: Recipe,
    layers: Mapping[str, PAINeuronModule],
    shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]],
) -> list[str]:
    """Which layers ``deploy`` will store dense, and why, as far as the plan shows it.

    ``shapes`` are those of what layers read and compute, where they are known. Where layers share what they keep, what
    each comes to is not known.
    """
    reasons = dict[str, str]()
    for finding in findings:
        layer, why = layers.get(finding.name), finding.reason
        if layer is not None:
            why = None if _is_shared(recipe) else _why_dense(layer, recipe, shapes.get(plain_name(finding.path)))
        elif not _has_matrix(model, finding):
            why = None
        if why is not None:
            reasons[finding.name] = why
    return folded("{layers} will be stored dense: {why}", reasons)


def _why_dense(
    layer: PAINeuronModule, recipe: Recipe, shapes: tuple[Sequence[int], Sequence[int]] | None
) -> str | None:
    if not layer.sparsity:
        return _keeps_all(recipe)
    if not isinstance(layer.pattern, Slots) or layer.weight_name != "weight":
        return None
    limit = sparse_limit(plain_layer(layer), shapes)
    if limit is None or 1 - layer.sparsity <= limit:
        return None
    return f"this machine runs it faster so above {_percent(limit)} of its weights, and it aims at more"


def _keeps_all(recipe: Recipe) -> str:
    return f"it keeps all of its weights ({recipe.distribution if recipe.sparsity else 'sparsity=0'})"


def _has_matrix(model: nn.Module, finding: LayerEligibility) -> bool:
    """Whether the finding is of a layer that stays as it was, and has weights that might have been dropped."""
    if finding.kind == "Dendrites":
        return False
    layer = plain_layer(model.get_submodule(finding.path))
    return any(parameter is not None and parameter.dim() > 1 for parameter in layer._parameters.values())


def _of_all(recipe: Recipe) -> list[str]:
    """What the layers have together, where none aims at a density of its own."""
    undecided = "how dense each becomes is decided while they train"
    if recipe.budget is not None:
        return [f"the layers share Budget({recipe.budget.unit}={recipe.budget.limit:g}): {undecided}"]
    if recipe.sparsity is not None and _is_shared(recipe):
        return [f"the layers keep {_percent(1 - recipe.sparsity)} of their weights together: {undecided}"]
    return []


def _is_shared(recipe: Recipe) -> bool:
    return recipe.budget is not None or recipe.distribution == "global"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
