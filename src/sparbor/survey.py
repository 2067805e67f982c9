"""Which layers of a model become dendritic, which do not, and why: decided before anything is touched."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import Optimizer

from sparbor.errors import ArgumentError
from sparbor.modules import WRAPPABLE, PAINeuronModule, why_not_wrappable
from sparbor.recipe import Recipe


@dataclass(frozen=True)
class Finding:
    """One layer with parameters of its own: whether it is taken, and if not, ``reason`` says why."""

    name: str
    kind: str
    weights: int
    reason: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the layer becomes dendritic."""
        return self.reason is None


def survey(model: nn.Module, optimizer: Optimizer, recipe: Recipe) -> list[Finding]:
    """Look at every layer that holds parameters; raises if the model cannot be perforated at all."""
    _refuse_perforated(model)
    _refuse_unmatched(model, recipe.exclude)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    uses = _uses_of_parameters(model)
    findings = []
    for name, layer in _layers(model):
        reason = _reason_against(name, layer, recipe, uses, held)
        findings.append(Finding(name, _kind(layer), _parameters(layer), reason))
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


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every module that owns parameters or computes its weight from others', and every wrapped layer once."""
    found: list[tuple[str, nn.Module]] = []
    wrapped: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, PAINeuronModule):
            wrapped.add(id(module.main_module))
            found.append((name, module))
        elif id(module) not in wrapped and (
            isinstance(module, WRAPPABLE) or next(_own_parameters(module), None) is not None
        ):
            found.append((name, module))
    return found


def _own_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in module._parameters.values() if parameter is not None)


def _parameters(layer: nn.Module) -> int:
    """How many parameters a layer has of its own; those of a lazy layer are not known yet and do not count."""
    inner = layer.main_module if isinstance(layer, PAINeuronModule) else layer
    assert isinstance(inner, nn.Module)
    return sum(p.numel() for p in _own_parameters(inner) if not isinstance(p, nn.UninitializedParameter))


def _reason_against(name: str, layer: nn.Module, recipe: Recipe, uses: Counter[int], held: set[int]) -> str | None:
    inner = layer.main_module if isinstance(layer, PAINeuronModule) else layer
    assert isinstance(inner, nn.Module)
    if any(fnmatchcase(plain_name(name), pattern) for pattern in recipe.exclude):
        return "excluded by the recipe"
    refusal = why_not_wrappable(inner, recipe.pattern)
    if refusal:
        return refusal
    weight = inner.weight
    if uses[id(weight)] > 1:
        return "its weight is tied: another layer uses it too"
    if not weight.requires_grad:
        return "frozen: its weight needs no gradient"
    if id(weight) not in held:
        return "the optimizer does not hold its weight"
    return None


def _uses_of_parameters(model: nn.Module) -> Counter[int]:
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
    names = [plain_name(name) for name, _ in _layers(model)]
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ArgumentError(f"exclude={pattern!r}: matches no layer; the model has {', '.join(names) or 'none'}")


def _refuse_nothing_to_do(model: nn.Module, findings: Sequence[Finding]) -> None:
    taken = [finding for finding in findings if finding.taken]
    if taken and taken[0].name == "":
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


def _kind(layer: nn.Module) -> str:
    return type(layer.main_module if isinstance(layer, PAINeuronModule) else layer).__name__
