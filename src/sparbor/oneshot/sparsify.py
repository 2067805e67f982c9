"""The front door: `sparsify` a trained model with a few batches of inputs."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from sparbor.allocation.survey import LayerEligibility, survey
from sparbor.distributed.shards import is_sharded
from sparbor.errors import ArgumentError
from sparbor.lower.deploy import evaluating
from sparbor.lower.states import unchanged_buffers
from sparbor.nn.named_layers import plain_name, replace_part
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer
from sparbor.oneshot.batches import Batches
from sparbor.oneshot.collecting import Moments, sums_of_squares
from sparbor.oneshot.densities import Distribution, divide
from sparbor.oneshot.discovery import Discovery, discover
from sparbor.oneshot.fitting import fit, keep_largest
from sparbor.oneshot.moments import Inputs
from sparbor.oneshot.options import Method, Options
from sparbor.oneshot.progress import Progress
from sparbor.oneshot.report import Outcome, SparsifyReport, report
from sparbor.oneshot.targets import SparseLayer
from sparbor.oneshot.watching import Watcher
from sparbor.progress import shown, tell
from sparbor.recipe.pattern import Pattern, Slots

logger = logging.getLogger("sparbor")


def sparsify(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: float = 0.5,
    *,
    method: Method = "second-order",
    pattern: Pattern | None = None,
    distribution: Distribution = "uniform",
    exclude: tuple[str, ...] = (),
    layers: Mapping[str, float] | None = None,
    damping: float = 0.01,
    progress: bool = True,
) -> SparsifyReport:
    """Make a trained ``model`` sparse in one shot, in place, with a few batches of inputs and without labels.

    Its layers become :class:`PAINeuronModule` in dendrite mode with their masks, as a finished training leaves them:
    the model deploys, and saves its state dict. What became of each layer is in what is returned: ``print(report)``,
    and as data ``report.rows`` (name, density, method, error, and why a layer is not sparse, or pruned otherwise).

    Layers are pruned in the order in which the model calls them. Let ``x`` be the rows that a layer is given when the
    layers before it are sparse already, ``(rows, inputs)``, and ``y`` what it answered in the dense model, ``(rows,
    outputs)``. Then ``"second-order"`` looks for the sparse weight ``W`` and the bias ``b`` with the least ``sum |y - x
    W^T - b|^2 + added |W - W_dense|^2``: it goes through the inputs branch by branch, drops of each neuron the weights
    with the least ``w_j^2 / [H^-1]_jj``, where ``H = x^T x + added I``, and corrects those that come later (SparseGPT,
    Frantar and Alistarh 2023, after the Optimal Brain Surgeon, Hassibi and Stork 1993), with slots or quads as its
    units; then it solves for the weights that are left. ``added`` is ``damping`` times the mean of the diagonal of
    ``x^T x``; ``x`` is less its mean, for which the bias makes up; a layer without a bias has the rows as they are.

    Memory: the model, the weights that were, and of one layer at a time ``x^T x`` and what is made of it; of the
    batches one at a time runs through the model. Time: each group of layers that read the same runs all batches through
    the dense and the sparse model, as far as to these layers.

    Args:
        model: any module with linear (Hugging Face's Conv1D too), convolutional, recurrent or MultiheadAttention
            layers. It is run in evaluation mode. Where a layer's input cannot be seen, as within recurrent layers and
            attention, or no batch reaches it, it is pruned by magnitude, and the report says so.
        batches: a list, or a DataLoader, of what the model is called with: a tensor, a tuple of arguments, or a
            dictionary of them by name, as in ``model(**batch)``. Labels that come last and that the model does not take
            are left out, as in the batches ``(inputs, labels)`` of a DataLoader. Of an ``attention_mask`` of shape
            (batch, length) the tokens count that it does not mask. Some hundred items such as the model will be
            given are enough; what can be read but once, such as a generator, is kept in memory.
        sparsity: the share of the layers' weights that is dropped, in [0, 1); of those that ``layers`` does not name.
        method: ``"second-order"``; ``"wanda"``, which keeps weights with the largest ``w_ij^2 sum x_j^2`` as they are
            (Sun et al. 2023; here its scores compete within a layer, by the pattern's units); or ``"magnitude"``. The
            latter two take few runs of the dense model, and errors of layers are not known.
        pattern: which weights are kept together: ``Slots()`` (so is ``None``), ``Quads()``, ``NM(n, m)`` or
            ``Unstructured()``.
        distribution: ``"uniform"``, every layer has this sparsity, or ``"erk"``, small layers are denser.
        exclude: names of layers to leave dense; ``*`` and ``?`` match as in file names.
        layers: the sparsity of the layers that a name matches, such as ``{"*.mlp.*": 0.7, "head": 0}``; the first name
            that matches counts. With 0 a layer keeps all of its weights.
        damping: see above. Where inputs depend on each other so that ``H`` cannot be inverted, it is raised ten times
            as often as it takes, and the report says so.
        progress: whether a line on a terminal shows how far it has come; the logger ``sparbor`` is told in any case.

    Raises:
        ArgumentError: an argument is out of range, a name matches no layer, there are no batches, one does not run
            through the model or holds NaN, the model has no layer that can be sparse, has dendritic layers already, or
            weights that are not numbers. The model is then as it was, as after any other exception.

    >>> import torch, sparbor
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16))
    >>> report = sparbor.sparsify(model, [torch.randn(100, 64)], sparsity=0.5)
    >>> [(row.name, row.density, row.method) for row in report.rows]
    [('0', 0.5, 'second-order'), ('2', 0.5, 'second-order')]
    """
    begun = time.perf_counter()
    options = Options(
        sparsity,
        method,
        Slots() if pattern is None else pattern,
        distribution,
        exclude,
        damping,
        {} if layers is None else layers,
    )
    model = getattr(model, "_orig_mod", model)  # which torch.compile may have wrapped
    _check(model)
    findings = survey(model, None, options.recipe)
    calls = Batches(model, batches)
    sparse: list[SparseLayer] = []
    with _undone_if_it_fails(sparse):
        for layer in _sparse_layers(model, findings, options.pattern):
            sparse.append(layer)  # one by one, so that those that there are will be undone
            _check_numbers(layer)
        with shown("sparsify", progress), evaluating(model), unchanged_buffers(model):
            tell("finds out which layers are called, and in which order")
            watcher = Watcher(model, calls)
            watched = [layer for layer in sparse if layer.watchable]
            with watcher.over(holder for layer in watched for holder in layer.holders):
                found = discover(watcher, watched)
                divide(sparse, options.recipe)
                outcomes = _prune(model, sparse, watcher, found, options)
    for layer in sparse:
        layer.settle()
        for path in (layer.finding.path, *layer.finding.places):
            replace_part(model, path, layer.module)
    weights = {layer.finding.name: layer.module.mask.numel() for layer in sparse}
    made = report(findings, outcomes, weights, time.perf_counter() - begun)
    logger.info("sparsified %s\n%s", type(model).__name__, made)
    return made


def _check(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
    for path, module in model.named_modules():
        if isinstance(module, PAINeuronModule):
            raise ArgumentError(
                f"the model has dendritic layers already ({path!r}): pass a dense model, sparbor.unwrap(model) first"
            )
    for name, parameter in model.named_parameters():
        if parameter.device.type == "meta" or is_sharded(parameter):
            where = "is on meta" if parameter.device.type == "meta" else "is sharded"
            raise ArgumentError(f"the model's {name!r} {where}: pass a model that has all of its weights here")


def _sparse_layers(model: nn.Module, findings: Sequence[LayerEligibility], pattern: Pattern) -> Iterator[SparseLayer]:
    """Those that a survey has found, within dendritic modules that are not in the model yet."""
    made: dict[str, PAINeuronModule] = {}  # by path: of a layer with several weights each module is around another
    for finding in findings:
        if finding.taken:
            layer = model.get_submodule(finding.path)
            around = made.get(finding.path, layer)
            module = PAINeuronModule(around, finding.name, pattern=pattern, weight_name=finding.weight_name)
            module.training = layer.training
            ties = [model.get_submodule(each.path) for each in findings if each.shares == plain_name(finding.name)]
            module.shared = bool(ties)
            made[finding.path] = module
            yield SparseLayer(finding, module, [plain_layer(module), *ties])


def _check_numbers(layer: SparseLayer) -> None:
    if not torch.isfinite(layer.module.parameter).all():
        raise ArgumentError(f"the weight of layer {layer.finding.name!r} holds NaN or infinity: pass a trained model")


@contextmanager
def _undone_if_it_fails(sparse: Sequence[SparseLayer]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for layer in reversed(sparse):
            layer.undo()
        raise


def _prune(
    model: nn.Module,
    sparse: Sequence[SparseLayer],
    watcher: Watcher,
    found: Discovery,
    options: Options,
) -> dict[str, Outcome]:
    """Prune all layers, in the order in which they are called; what became of each, by its name."""
    outcomes: dict[str, Outcome] = {}
    told = Progress(len(sparse))
    match options.method:
        case "second-order":
            done: list[SparseLayer] = []
            for group in found.groups:
                outcomes |= _prune_group(group, watcher, found, options.damping, done)
                done += group
                error = max(outcomes[layer.finding.name].error or 0 for layer in group)
                told.done([layer.finding.name for layer in group], f"error {error:.3f}")
        case "wanda":
            for layer, sums in sums_of_squares(watcher, [layer for group in found.groups for layer in group]).items():
                keep_largest(layer, sums)
                outcomes[layer.finding.name] = Outcome("wanda")
                told.done([layer.finding.name], "by Wanda")
        case "magnitude":
            pass  # which needs no inputs
    for layer in sparse:
        if layer.finding.name not in outcomes:
            keep_largest(layer, None)
            why = "" if options.method == "magnitude" else _why_unseen(model, layer)
            outcomes[layer.finding.name] = Outcome("magnitude", why=why)
            told.done([layer.finding.name], "by magnitude")
    for layer in sparse:
        outcomes[layer.finding.name].density = layer.density()
    return outcomes


def _prune_group(
    group: Sequence[SparseLayer], watcher: Watcher, found: Discovery, damping: float, done: Sequence[SparseLayer]
) -> dict[str, Outcome]:
    moments = Moments(group)
    moments.collect(watcher, found.calls, done)
    outcomes = {}
    for layer in group:
        targets = None if moments.targets is None else moments.targets[layer]
        error, took = fit(layer, moments.inputs, targets, damping)
        why = _why_damped(moments.inputs)
        if took != damping:
            why.append(f"damped by {took:.3g}: its inputs depend on each other")
        if targets is None:
            why.append("fitted to its own dense weight: the sparse model gives it other rows than the dense one")
        outcomes[layer.finding.name] = Outcome("second-order", error, "; ".join(why))
    return outcomes


def _why_damped(inputs: Inputs) -> list[str]:
    """Where inputs say too little of a layer's weights, so that damping alone decides about some or all of them."""
    fan_in = inputs.gram.shape[-1]
    if not inputs.gram.any():
        return ["its inputs are the same for every item: weights count by their size alone"]
    if inputs.rows < fan_in:
        return [f"{inputs.rows} rows for {fan_in} inputs: pass more items"]
    return []


def _why_unseen(model: nn.Module, layer: SparseLayer) -> str:
    """Why a layer's inputs are not known."""
    parent = model.get_submodule(layer.finding.path.rpartition(".")[0])
    if not layer.watchable or isinstance(parent, nn.MultiheadAttention):
        return "its inputs cannot be seen: PyTorch reads its weight within one operation"
    return "no batch reaches it"
