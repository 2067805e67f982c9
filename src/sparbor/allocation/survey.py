"""Which layers of a model become dendritic, which do not, and why: decided before anything is touched."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn
from torch.optim import Optimizer

from sparbor.allocation.ties import Ties
from sparbor.errors import ArgumentError
from sparbor.nn.layers import (
    name_of_weight,
    parameter_of,
    parameters_with,
    parts_of_weight,
    weight_names,
    why_better_dense,
    why_not_wrappable,
)
from sparbor.nn.named_layers import named_layers, own_parameters, plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer, wrappers
from sparbor.recipe.recipe import Recipe

MOST_NAMES = 3  # of layers of which the same is said: of more, only how many they are


@dataclass(frozen=True)
class LayerEligibility:
    """One layer with parameters of its own: whether it is taken, and if not, ``reason`` says why.

    Where a layer has several weights, each is listed by itself, as ``"self_attn.in_proj_weight"``. A parameter that
    several layers have counts among the ``weights`` of the first. ``shares`` names the layer whose weight this one has,
    and so its mask. ``places`` are further paths where the very same layer stands. ``sparsity`` is the one that the
    recipe's ``layers`` give this layer, if they name it.
    """

    name: str
    kind: str
    weights: int
    reason: str | None = None
    weight_name: str = "weight"
    shares: str | None = None
    places: tuple[str, ...] = ()
    sparsity: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the layer becomes dendritic, with a mask of its own."""
        return self.reason is None and self.shares is None

    @property
    def path(self) -> str:
        """Where the layer stands in the model."""
        return self.name if self.weight_name == "weight" else self.name.rpartition(".")[0]

    def wrapper_in(self, model: nn.Module) -> PAINeuronModule | None:
        """What is wrapped around the layer for this weight, if anything is."""
        around = (each for each in wrappers(model.get_submodule(self.path)) if each.weight_name == self.weight_name)
        module = next(around, None)
        return module if isinstance(module, PAINeuronModule) else None


class _Candidate(NamedTuple):
    """A layer, one of its weights (none if it has none to mask), and the parameters that count with that."""

    path: str
    name: str
    layer: nn.Module
    weight: str | None
    parameters: list[nn.Parameter]


def survey(model: nn.Module, optimizer: Optimizer | None, recipe: Recipe) -> list[LayerEligibility]:
    """Look at every layer that holds parameters; raises if the model cannot be perforated at all.

    Without an optimizer nothing is trained, and layers whose weights need no gradient are taken too.
    """
    masked = _masked(model, recipe)
    _refuse_unmatched(model, recipe.exclude)
    held = None if optimizer is None else {id(each) for group in optimizer.param_groups for each in group["params"]}
    ties = Ties(model)
    findings, counted = [], set[int]()
    for candidate in _candidates(model):
        new = [parameter for parameter in candidate.parameters if id(parameter) not in counted]
        counted |= set(map(id, new))
        reason = _reason_against(candidate, recipe, ties, held, counted_before=not new)
        shares, places = None, tuple[str, ...]()
        weight = parameter_of(candidate.layer, candidate.weight) if candidate.weight else None
        sparsity = None
        if reason is None and weight is not None:
            shares = ties.owner(candidate.layer, weight)
            places = ties.other_places(candidate.layer, candidate.path, weight)
            sparsity = _own_sparsity(candidate, recipe)
            if recipe.method == "fixed" and id(weight) not in masked:
                reason = "it has no mask that could be kept"
        # PyTorch has a class of that name made for a layer whose weight is computed.
        kind = type(candidate.layer).__name__.removeprefix("Parametrized")
        weights = sum(parameter.numel() for parameter in new)
        named = candidate.weight or "weight"
        findings.append(LayerEligibility(candidate.name, kind, weights, reason, named, shares, places, sparsity))
    _refuse_nothing_to_do(model, findings)
    _refuse_layers_that_name_none(findings, recipe)
    return findings


def folded(sentence: str, reasons: Mapping[str, str]) -> list[str]:
    """The ``sentence``, which says ``{layers}`` and ``{why}``, once for each reason that the layers named have."""
    names: dict[str, list[str]] = {}
    for name, why in reasons.items():
        names.setdefault(why, []).append(name)
    return [sentence.format(layers=_enumerated(layers), why=why) for why, layers in names.items()]


def _enumerated(names: Sequence[str]) -> str:
    """The names, of which each by itself has the reason that follows: it is worded for one."""
    if len(names) > MOST_NAMES:
        return f"each of {len(names)} layers"
    return names[0] if len(names) == 1 else f"each of {', '.join(names[:-1])} and {names[-1]}"


def _candidates(model: nn.Module) -> Iterator[_Candidate]:
    """Every module that owns parameters or computes its weights from others', and every wrapped layer once."""
    seen: set[int] = set()
    for _, path, module in named_layers(model):
        if id(module) in seen:
            continue
        layer = plain_layer(module)
        seen |= {id(layer), *map(id, wrappers(module)), *map(id, parts_of_weight(layer))}
        names = weight_names(layer)
        if not names and next(own_parameters(layer), None) is None:
            continue
        for weight in names or [None]:
            counted = parameters_with(layer, weight, recurse=False)
            # Those of a lazy layer are not known yet, and do not count.
            known = [each for each in counted if not isinstance(each, nn.UninitializedParameter)]
            yield _Candidate(path, name_of_weight(path, weight or "weight"), layer, weight, known)


def _reason_against(
    candidate: _Candidate, recipe: Recipe, ties: Ties, held: set[int] | None, *, counted_before: bool
) -> str | None:
    if _matched((candidate.name, candidate.path), recipe.exclude):
        return "excluded by the recipe"
    refusal = why_not_wrappable(candidate.layer, recipe.pattern, candidate.weight)
    refusal = refusal or why_better_dense(candidate.layer, recipe.pattern)
    if refusal:
        tied = counted_before and candidate.parameters
        return ties.said(candidate.path, candidate.parameters[0]) if tied else refusal
    weight = parameter_of(candidate.layer, candidate.weight or "weight")
    assert weight is not None  # else it could not be wrapped
    if not ties.alike(weight):
        return ties.said(candidate.path, weight)
    if _matched(ties.holders(weight), recipe.exclude):
        return f"{ties.said(candidate.path, weight)}, and the recipe excludes that"
    if held is not None and not weight.requires_grad:
        return "frozen: its weight needs no gradient"
    if held is not None and id(weight) not in held:
        return "the optimizer does not hold its weight"
    return None


def _matched(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether a name matches a pattern; a layer's own name stands for each of its weights."""
    return any(fnmatchcase(plain_name(name), pattern) for name in names for pattern in patterns)


def _own_sparsity(candidate: _Candidate, recipe: Recipe) -> float | None:
    """The sparsity that the first of the recipe's ``layers`` patterns that matches gives the layer, if one does."""
    names = (candidate.name, candidate.path)
    return next((sparsity for pattern, sparsity in recipe.own_sparsities if _matched(names, (pattern,))), None)


def _masked(model: nn.Module, recipe: Recipe) -> set[int]:
    """The ids of parameters that have masks already, of no other run; raises where the recipe cannot begin so."""
    masked = set()
    for name, module in model.named_modules():
        if not isinstance(module, PAINeuronModule):
            continue
        if module.dendrites is not None and module.controller is None:
            raise ArgumentError(
                f"the model is already perforated (layer {name!r}), and has dendrites, which no other run goes on with:"
                " sparbor.unwrap(model) first, to start anew"
            )
        if module.controller is not None:
            raise ArgumentError(
                f"the model is already perforated (layer {name!r}): a model is perforated once; perforator.detach()"
                " ends the run that it is in and leaves the masks, sparbor.unwrap(model) takes these away, too"
            )
        if module.mode == "d":
            masked.add(id(module.parameter))
    if recipe.method == "fixed" and not masked:
        raise ArgumentError(
            "method='fixed': no layer of the model has a mask that could be kept; make masks with"
            " sparbor.sparsify(model, batches), or let method='static' choose them"
        )
    for part, given in (("growth", recipe.growth), ("budget", recipe.budget)):
        if masked and given is not None:
            raise ArgumentError(
                f"{part}={given!r}: the model's layers have masks already, and a {part} is planned from dense ones on;"
                f" give a sparsity without {part}, or call sparbor.unwrap(model) to begin dense"
            )
    return masked


def _refuse_unmatched(model: nn.Module, exclude: Sequence[str]) -> None:
    candidates = list(_candidates(model))
    names = [plain_name(candidate.name) for candidate in candidates]
    for pattern in exclude:
        if not _matched((*names, *(candidate.path for candidate in candidates)), (pattern,)):
            raise ArgumentError(f"exclude={pattern!r}: matches no layer; the model has {', '.join(names) or 'none'}")


def _refuse_layers_that_name_none(findings: Sequence[LayerEligibility], recipe: Recipe) -> None:
    """Each pattern of ``layers`` must decide for a layer: one that does not is misspelt, or comes too late."""
    taken = [(plain_name(finding.name), plain_name(finding.path)) for finding in findings if finding.taken]
    for pattern, sparsity in recipe.own_sparsities:
        named = [names for names in taken if _matched(names, (pattern,))]
        taken_before = [names for names in taken if names not in named]
        if not named:
            dendritic = ", ".join(name for name, _ in taken_before)
            raise ArgumentError(
                f"layers[{pattern!r}]={sparsity!r}: names no layer that becomes dendritic, or none but those that a"
                f" pattern before it names; the others are {dendritic or 'none'}: mend the name, or put it further up"
            )
        taken = taken_before


def _refuse_nothing_to_do(model: nn.Module, findings: Sequence[LayerEligibility]) -> None:
    taken = [finding for finding in findings if finding.taken]
    if taken and taken[0].path == "":
        raise ArgumentError(
            f"the model is itself a {taken[0].kind} layer, which cannot be replaced in place:"
            " pass torch.nn.Sequential(layer)"
        )
    if taken:
        return
    if any(finding.reason == "the optimizer does not hold its weight" for finding in findings):
        raise ArgumentError(
            "the optimizer holds none of the weights of the model's layers:"
            " make it with torch.optim.<Optimizer>(model.parameters(), ...) of this very model"
        )
    reasons = {f"{f.name or type(model).__name__} ({f.kind})": str(f.reason) for f in findings}
    why = "; ".join(folded("{layers}: {why}", reasons)) or "it has no parameters"
    raise ArgumentError(f"{type(model).__name__} has no layer that can become dendritic: {why}")
