"""What ``print(perforator)`` says: the model's layers, what becomes of each, and which of them stay as they are."""

from collections.abc import Mapping, Sequence

from sparbor.allocation.survey import LayerEligibility
from sparbor.nn.neuron import PAINeuronModule
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
    why = recipe.distribution if recipe.sparsity else "sparsity=0"
    fate = "yes" if layer.sparsity else f"yes, but it keeps all of its weights ({why})"
    return *what, _percent(1 - layer.sparsity), now, fate


def _of_all(recipe: Recipe) -> list[str]:
    """What the layers have together, where none aims at a density of its own."""
    if recipe.budget is not None:
        budget = f"{recipe.budget.unit}={recipe.budget.limit:g}"
        return [f"the layers share Budget({budget}): how dense each becomes is decided while they train"]
    if recipe.sparsity is not None and _is_shared(recipe):
        density = _percent(1 - recipe.sparsity)
        return [
            f"the layers keep {density} of their weights together: how dense each becomes is decided while they train"
        ]
    return []


def _is_shared(recipe: Recipe) -> bool:
    return recipe.budget is not None or recipe.distribution == "global"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
