"""The front door: `sparsify` a trained model with a few batches of inputs."""

import logging
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from sparbor.allocation.survey import LayerEligibility, survey
from sparbor.errors import ArgumentError
from sparbor.lower.chains import chains
from sparbor.lower.deploy import evaluating
from sparbor.lower.restored import restored
from sparbor.lower.states import unchanged_buffers
from sparbor.nn.named_layers import plain_name, replace_part
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.oneshot.batches import Batches
from sparbor.oneshot.collecting import Moments
from sparbor.oneshot.densities import DISTRIBUTIONS, Distribution, divide
from sparbor.oneshot.discovery import Discovery, discover
from sparbor.oneshot.fitting import METHODS, Method, by_magnitude, by_moments
from sparbor.oneshot.report import LayerRow, SparsifyReport
from sparbor.oneshot.targets import SparseLayer
from sparbor.recipe.pattern import NM, Pattern, Slots
from sparbor.recipe.recipe import Recipe
from sparbor.train.permute_neurons import permute_neurons

logger = logging.getLogger("sparbor")

def sparsify(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: float = 0.5,
    *,
    method: Method = "second-order",
    pattern: Pattern | None = None,
    distribution: Distribution | None = None,
    exclude: tuple[str, ...] = (),
    layers: Mapping[str, float] | None = None,
    damping: float = 0.01,
    progress: bool = True,
    reorder: bool = True,
) -> SparsifyReport:
    """TODO."""
    begun = time.perf_counter()
    pattern = Slots() if pattern is None else pattern
    recipe = Recipe(sparsity=sparsity, pattern=pattern, exclude=exclude, distribution="uniform")
    findings = survey(model, None, recipe)
    sparse = _modules(model, findings, pattern)
    rows: dict[SparseLayer, tuple[str, float | None, str]] = {}
    with evaluating(model), unchanged_buffers(model):
        calls = Batches(model, batches)
        found = discover(model, calls, [layer for layer in sparse if layer.watchable])
        print("discovered", time.perf_counter() - begun)
        for layer, density in divide(sparse, found.sizes, pattern, distribution, 1 - sparsity).items():
            layer.module.sparsity, layer.module.planned = 1 - density, True
        if reorder:
            order(model, sparse, calls)
            print("ordered", time.perf_counter() - begun)
        done: list[SparseLayer] = []
        for group in found.groups:
            moments = Moments(group)
            moments.collect(model, calls, found.calls, done)
            t = time.perf_counter()
            for layer in group:
                targets = None if moments.targets is None else moments.targets[layer]
                error, damped = by_moments(layer, method, 1 - layer.module.sparsity, moments.inputs, targets, damping)
                rows[layer] = method, error, ""
                done.append(layer)
            print(group[0].finding.name, time.perf_counter() - begun, time.perf_counter() - t, error, 1 - layer.module.sparsity)
        for layer in sparse:
            if layer not in rows:
                by_magnitude(layer, 1 - layer.module.sparsity)
                rows[layer] = "magnitude", None, "no batch reaches it"
    for layer in sparse:
        layer.settle()
        layer.module.set_mask(layer.mask)
    place(model, sparse)
    return rows


def place(model, sparse):
    for layer in sparse:
        for path in (layer.finding.path, *layer.finding.places):
            replace_part(model, path, layer.module)


def order(model, sparse, calls):
    call = next(iter(calls))
    with restored(model):
        place(model, sparse)
        found = chains(model, call.args, call.kwargs)
        print(found.reasons)
        permute_neurons(found.found)


def _modules(model, findings, pattern):
    made = []
    for finding in findings:
        if not finding.taken:
            continue
        layer = model.get_submodule(finding.path)
        module = PAINeuronModule(layer, finding.name, weight_name=finding.weight_name, pattern=pattern)
        module.training = layer.training
        ties = [each for each in findings if each.shares == plain_name(finding.name)]
        module.shared = bool(ties)
        made.append(SparseLayer(finding, module, [plain_layer(module), *(model.get_submodule(t.path) for t in ties)]))
    return made
