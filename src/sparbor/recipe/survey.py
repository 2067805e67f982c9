"""Which layers of a model become dendritic, which do not, and why: decided before anything is touched."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import Optimizer

from sparbor.errors import ArgumentError
from sparbor.modules.layers import name_of_weight, parameters_with, weight_names, why_not_wrappable
from sparbor.modules.neuron import PAINeuronModule
from sparbor.modules.wrapping import places, plain_layer, wrappers
from sparbor.recipe.recipe import Recipe


@dataclass(frozen=True)
class Finding:
    """One layer with parameters of its own: whether it is taken, and if not, ``reason`` says why.

    Attention's projections are listed by themselves, as ``"self_attn.in_proj_weight"``.
    """

    name: str
    kind: str
    weights: int
    reason: str | None = None
    weight_name: str = "weight"

    @property
    def taken(self) -> bool:
        """Whether the layer becomes dendritic."""
        return self.reason is None

    @property
    def path(self) -> str:
        """Where the layer stands in the model."""
        return self.name if self.weight_name == "weight" else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class _Candidate:
    """A layer and one of its weights, or a layer that has none to mask."""

    path: str
    layer: nn.Module
    weight: str | None

    @property
    def name(self) -> str:
        """What reports call it."""
        return name_of_weight(self.path, self.weight or "weight")

    @property
    def parameters(self) -> int:
        """How many count with the weight; those of a lazy layer are not known yet and do not count."""
        counted = parameters_with(self.layer, self.weight, recurse=False)
        return sum(p.numel() for p in counted if not isinstance(p, nn.UninitializedParameter))


def survey(model: nn.Module, optimizer: Optimizer, recipe: Recipe) -> list[Finding]:
    """Look at every layer that holds parameters; raises if the model cannot be perforated at all."""
    _refuse_perforated(model)
    _refuse_unmatched(model, recipe.exclude)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    uses = uses_of_parameters(model)
    findings = [
        Finding(
            candidate.name,
            type(candidate.layer).__name__,
            candidate.parameters,
            _reason_against(candidate, recipe, uses, held),
            candidate.weight or "weight",
        )
        for candidate in _candidates(model)
    ]
    _refuse_nothing_to_do(model, findings)
    return findings


def table(findings: Sequence[Finding]) -> str:
    """The findings as lines of text, one a layer."""
    rows = [("layer", "kind", "parameters", "dendritic")]
    rows += [(f.name, f.kind, f"{f.weights:,}", "yes" if f.taken else f"no: {f.reason}") for f in findings]
    width = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:<{width[0]}}  {b:<{width[1]}}  {c:>{width[2]}}  {d}" for a, b, c, d in rows)


def plain_name(name: str) -> str:
    """The name of a layer without what ``torch.compile`` puts into it."""
    return name.replace("_orig_mod.", "")


def _candidates(model: nn.Module) -> Iterator[_Candidate]:
    """Every module that owns parameters or computes its weights from others', and every wrapped layer once."""
    seen: set[int] = set()
    for _, path, module in places(model):
        if id(module) in seen:
            continue
        layer = plain_layer(module)
        seen |= {id(layer), *map(id, wrappers(module))}
        names = weight_names(layer)
        if not names and next(_own_parameters(layer), None) is None:
            continue
        yield from (_Candidate(path, layer, name) for name in names or [None])


def _own_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in module._parameters.values() if parameter is not None)


def _reason_against(candidate: _Candidate, recipe: Recipe, uses: Counter[int], held: set[int]) -> str | None:
    if any(fnmatchcase(plain_name(candidate.name), pattern) for pattern in recipe.exclude):
        return "excluded by the recipe"
    refusal = why_not_wrappable(candidate.layer, recipe.pattern, candidate.weight)
    if refusal:
        return refusal
    weight = candidate.layer.get_parameter(candidate.weight or "weight")
    if uses[id(weight)] > 1:
        return "its weight is tied: another layer uses it too"
    if not weight.requires_grad:
        return "frozen: its weight needs no gradient"
    if id(weight) not in held:
        return "the optimizer does not hold its weight"
    return None


def uses_of_parameters(model: nn.Module) -> Counter[int]:
    """How many places of the model hold each parameter; a layer that stands in two places counts twice."""
    uses: Counter[int] = Counter()
    for _, module in model.named_modules(remove_duplicate=False):
        uses.update(id(parameter) for parameter in _own_parameters(module))
    return uses


def _refuse_perforated(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, PAINeuronModule) and (module.mode == "d" or module.kept or module.dendrites is not None):
            raise ArgumentError(
                f"the model is already perforated (layer {name!r}): a model is perforated once;"
                " sparbor.unwrap(model) first, to start anew"
            )


def _refuse_unmatched(model: nn.Module, exclude: Sequence[str]) -> None:
    names = [plain_name(candidate.name) for candidate in _candidates(model)]
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ArgumentError(f"exclude={pattern!r}: matches no layer; the model has {', '.join(names) or 'none'}")


def _refuse_nothing_to_do(model: nn.Module, findings: Sequence[Finding]) -> None:
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
    reasons = "; ".join(f"{f.name or type(model).__name__} ({f.kind}): {f.reason}" for f in findings)
    raise ArgumentError(
        f"{type(model).__name__} has no layer that can become dendritic: {reasons or 'it has no parameters'}"
    )
