"""What ``print(perforator)`` says: the model's layers, what becomes of each, and why some stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparbor.allocation.layer_table import lines, percent
from sparbor.allocation.survey import LayerEligibility
from sparbor.lower.sparse_limit import sparse_limit
from sparbor.nn.named_layers import plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.pattern import Slots
from sparbor.recipe.recipe import Recipe

DENDRITES = "Dendrites"  # the kind of findings about what may grow on a layer
Shapes = Mapping[str, tuple[Sequence[int], Sequence[int]]]


@dataclass(frozen=True)
class LayerRow:
    """One layer with parameters: what it is, and what becomes of it.

    Args:
        name: where it stands in the model, with the weight's name if the layer has several.
        kind: its class.
        parameters: how many it has that no row before has counted.
        dendritic: whether its weight has a mask.
        density: the share of its weights that are active now; ``None`` if it is not dendritic, or not grown yet.
        final_density: the share that the recipe wants in the end; ``None`` where that is not decided yet: where layers
            share what they keep, and for dendrites.
        dense_at_last: whether ``deploy`` will store it dense, as far as that is known before.
        why: why it is not dendritic, or dense in the end, or whose mask it has; empty if there is nothing to say.
    """

    name: str
    kind: str
    parameters: int
    dendritic: bool
    density: float | None
    final_density: float | None
    dense_at_last: bool
    why: str


def rows(
    findings: Sequence[LayerEligibility], recipe: Recipe, layers: Mapping[str, PAINeuronModule], shapes: Shapes
) -> list[LayerRow]:
    """A row for each finding. ``layers`` are all that the model has by name, also those that this run leaves alone.

    ``shapes`` are those of what layers read and compute, where they are known.
    """
    own = {plain_name(name): layer for name, layer in layers.items()}
    return [_row(finding, recipe, own, shapes) for finding in findings]


def _row(finding: LayerEligibility, recipe: Recipe, layers: Mapping[str, PAINeuronModule], shapes: Shapes) -> LayerRow:
    what = finding.name, finding.kind, finding.weights
    if finding.reason is not None:
        kept = layers.get(plain_name(finding.name))
        if kept is not None and kept.mode == "d":  # it came with a mask, and keeps it
            return LayerRow(*what, True, 1 - kept.get_sparsity(), 1 - kept.get_sparsity(), False, finding.reason)
        return LayerRow(*what, False, None, None, finding.kind != DENDRITES, finding.reason)
    layer = layers.get(plain_name(finding.shares or finding.name))
    if layer is None:  # dendrites that have not grown, or what has the weight of a layer that has been exchanged
        return LayerRow(*what, True, None, None, False, "")
    shared = _is_shared(recipe) and finding.sparsity is None
    final = None if shared else 1 - layer.sparsity
    by = _dense_by(finding, recipe)
    why_dense = None if final is None else _why_dense(layer, by, shapes.get(plain_name(finding.path)))
    said = [f"it has the weight and the mask of {finding.shares}"] if finding.shares else []
    said += [why_dense] if why_dense else []
    return LayerRow(*what, True, 1 - layer.get_sparsity(), final, why_dense is not None, "; ".join(said))


def _why_dense(layer: PAINeuronModule, by: str, shapes: tuple[Sequence[int], Sequence[int]] | None) -> str | None:
    if not layer.sparsity:
        return f"stored dense: it keeps all of its weights ({by})"
    if not isinstance(layer.pattern, Slots) or layer.weight_name != "weight":
        return None
    limit = sparse_limit(plain_layer(layer), shapes)
    if limit is None or 1 - layer.sparsity <= limit:
        return None
    return f"stored dense: this machine runs it faster so above {percent(limit)}"


def _dense_by(finding: LayerEligibility, recipe: Recipe) -> str:
    """Which part of the recipe says so where a layer keeps all of its weights."""
    if finding.sparsity is not None:
        return "layers"
    if recipe.method == "fixed":
        return "its mask"
    return str(recipe.distribution) if recipe.sparsity else "sparsity=0"


def table(found: Sequence[LayerRow], recipe: Recipe) -> str:
    """The rows as lines of text, one a layer: its density now and in the end, and why it is no less."""
    cells: list[tuple[str, ...]] = [("layer", "kind", "parameters", "dendritic", "now", "in the end", "why")]
    cells += [_cells(row) for row in found]
    return "\n".join([*lines(cells, "<<><>><"), _sum(found), *_of_all(recipe)])


def _cells(row: LayerRow) -> tuple[str, ...]:
    what = row.name or "(the model)", row.kind, f"{row.parameters:,}"
    if not row.dendritic:
        return *what, "no", *(("", "") if row.kind == DENDRITES else ("dense", "dense")), row.why
    if row.density is None:
        return *what, "yes", "", "", row.why
    final = "shared" if row.final_density is None else percent(row.final_density)
    return *what, "yes", percent(row.density), final, row.why


def _sum(found: Sequence[LayerRow]) -> str:
    layers = [row for row in found if row.kind != DENDRITES]
    taken = [row for row in layers if row.dendritic]
    parameters, of_taken = (sum(row.parameters for row in part) for part in (layers, taken))
    return (
        f"{len(taken)} of {len(layers)} layers are dendritic, with {of_taken:,} of {parameters:,} parameters"
        f" ({percent(of_taken / parameters)})"
    )


def _of_all(recipe: Recipe) -> list[str]:
    """What the layers have together, where none aims at a density of its own."""
    undecided = "how dense each becomes is decided while they train"
    if recipe.budget is not None:
        return [f"the layers share Budget({recipe.budget.unit}={recipe.budget.limit:g}): {undecided}"]
    if recipe.sparsity is not None and _is_shared(recipe):
        which = "the other layers" if recipe.layers else "the layers"
        return [f"{which} keep {percent(1 - recipe.sparsity)} of their weights together: {undecided}"]
    return []


def _is_shared(recipe: Recipe) -> bool:
    return recipe.budget is not None or recipe.distribution == "global"
