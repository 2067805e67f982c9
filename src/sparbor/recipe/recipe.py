"""What to train: a frozen description of a sparse training run that writes itself to JSON."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from sparbor.errors import ArgumentError, StateError
from sparbor.recipe.budget import Budget
from sparbor.recipe.checks import (
    are_names,
    check_choice,
    check_sparsity,
    layer_sparsities,
    lr_exponent,
    refusing_old_names,
)
from sparbor.recipe.growth import Growth
from sparbor.recipe.pattern import NM, Pattern, Quads, Slots, Unstructured
from sparbor.recipe.schedule import NEVER, Schedule, Timeline

Method = Literal["rigl", "set", "magnitude", "static", "fixed"]
METHODS: tuple[Method, ...] = ("rigl", "set", "magnitude", "static", "fixed")
Distribution = Literal["uniform", "erk", "global"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("uniform", "erk", "global")
PATTERNS: dict[str, type[Pattern]] = {"slots": Slots, "quads": Quads, "nm": NM, "unstructured": Unstructured}
VERSION = 1
DEFAULT_SPARSITY = 0.9
THIN_SPARSITY = 0.75  # from here on small layers would become too thin at the sparsity of the model
LARGEST_SEED = 2**63
OPTIONAL = ("budget", "growth", "layers")  # JSON has them only where they say something
RENAMED = {"step_exponent": "lr_density_exponent"}  # fields that older releases called otherwise
STORED_AS = {"neuron_block": "group"}  # fields of a pattern that JSON calls otherwise


@refusing_old_names(RENAMED)
@dataclass(frozen=True)
class Recipe:
    """How a model becomes sparse.

    Args:
        sparsity: the share of the wrapped layers' weights that is dropped in the end, in [0, 1), but for those that
            ``layers`` names; 0.9 if neither it nor a ``budget`` is given, and ``None`` with a budget or ``"fixed"``.
        method: ``"rigl"`` grows where the dense gradient is largest (Evci et al. 2020), ``"set"`` at random (Mocanu et
            al. 2018), ``"magnitude"`` only drops, gradually (Zhu & Gupta 2017), ``"static"`` drops once, at the switch
            to dendrite mode, and never changes its mask, ``"fixed"`` keeps the masks that the model's layers have.
        pattern: which weights are kept together: ``Slots()``, ``Quads()``, ``NM(n, m)`` or ``Unstructured()``.
        distribution: ``"uniform"`` (every layer has this sparsity), ``"erk"`` (small layers are denser) or
            ``"global"`` (the scores of all layers compete). ``None``: uniform below a sparsity of 0.75 and with ``NM``,
            else erk.
        schedule: when; see :class:`Schedule`.
        exclude: names of layers to leave as they are, dense as a rule; ``*`` and ``?`` match as in file names.
        seed: of the random growth of ``"set"``, and of new dendrites.
        lr_density_exponent: where a layer has the density d, each optimizer step moves its weights
            ``d ** -lr_density_exponent`` times as far; 0 leaves steps as they are. A pair is that at the largest
            learning rate so far and that from half of it on, between which it goes as the rate falls. See
            :mod:`sparbor.train.sparse_lr`.
        budget: in place of ``sparsity`` and ``distribution``, what the model may cost in the end; see :class:`Budget`
            and :func:`sparbor.calibrated`.
        growth: when dendrites are grown, and which; ``None``: none are. See :class:`Growth`.
        layers: sparsities of their own for layers whose names match a pattern, such as ``{"*.mlp.*": 0.95}``, as
            ``exclude`` has them; of several patterns that match, the first counts. It is kept as a tuple of pairs.

    >>> recipe = Recipe(sparsity=0.9, pattern=Unstructured(), distribution="erk")
    >>> Recipe.from_json(recipe.to_json()) == recipe
    True
    """

    sparsity: float | None = None
    method: Method = "rigl"
    pattern: Pattern = field(default_factory=Slots)
    distribution: Distribution | None = None
    schedule: Schedule = field(default_factory=Schedule)
    exclude: tuple[str, ...] = ()
    seed: int = 0
    lr_density_exponent: float | tuple[float, float] = (0.5, 1.0)
    budget: Budget | None = None
    growth: Growth | None = None
    layers: Mapping[str, float] | tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", layer_sparsities(self.layers))
        if self.method == "fixed":
            self._check_fixed()
        elif self.budget is not None:
            self._check_budget(self.budget)
        elif self.sparsity is None:
            object.__setattr__(self, "sparsity", DEFAULT_SPARSITY)
        else:
            check_sparsity(self.sparsity)
        check_choice("method", self.method, METHODS)
        if self.distribution is not None:
            check_choice("distribution", self.distribution, DISTRIBUTIONS)
        elif self.budget is None and self.sparsity is not None:
            uniform = isinstance(self.pattern, NM) or self.sparsity < THIN_SPARSITY
            object.__setattr__(self, "distribution", "uniform" if uniform else "erk")
        if not isinstance(self.pattern, tuple(PATTERNS.values())):
            raise ArgumentError(f"pattern={self.pattern!r}: must be Slots(...), Quads(...), NM(n, m) or Unstructured()")
        if not are_names(self.exclude):
            example = self.exclude if isinstance(self.exclude, str) else "fc3"
            raise ArgumentError(f"exclude={self.exclude!r}: must be a tuple of layer names, such as ({example!r},)")
        object.__setattr__(self, "exclude", tuple(self.exclude))  # a list would be unequal to what its JSON becomes
        if not isinstance(self.schedule, Schedule):
            raise ArgumentError(f"schedule={self.schedule!r}: must be a Schedule(...)")
        if not isinstance(self.seed, int) or not 0 <= self.seed < LARGEST_SEED:
            raise ArgumentError(f"seed={self.seed!r}: must be a whole number from 0 to {LARGEST_SEED - 1}")
        if self.growth is not None and not isinstance(self.growth, Growth):
            raise ArgumentError(f"growth={self.growth!r}: must be a Growth(...), or None")
        object.__setattr__(self, "lr_density_exponent", lr_exponent(self.lr_density_exponent))
        if isinstance(self.pattern, NM) and self.method != "fixed":
            self._check_quota(self.pattern)
        if self.growth is not None and self.layers:
            raise ArgumentError(
                "growth and layers: dendrites take their weights out of a total that all layers share; leave out one"
            )

    @classmethod
    def fine_tuning(cls, sparsity: float | None = None, **changes: Any) -> "Recipe":
        """The recipe for a few epochs from pre-trained weights; ``changes`` are other arguments of :class:`Recipe`.

        Such a run is short and begins with weights that are good already, so it is dense for its first tenth only.
        Then weights are dropped by their magnitude, none comes back, and the mask rests for the last quarter. It is
        made for a learning rate that rises for a tenth of the run and falls to zero; steps of sparse layers are longer
        by the square root of 1 / density at every rate, since pre-trained weights have less far to go.

        >>> Recipe.fine_tuning(0.8, exclude=("classifier",)).schedule.ramp_end
        0.75
        """
        schedule = Schedule(warmup=0.1, ramp_end=0.75, rewire_end=0.75)
        return cls(sparsity, **{"method": "magnitude", "schedule": schedule, "lr_density_exponent": 0.5, **changes})

    @property
    def drops_nothing(self) -> bool:
        """Whether every layer stays dense."""
        return self.sparsity == 0 and not any(sparsity for _, sparsity in self.own_sparsities)

    @property
    def grows_synapses(self) -> bool:
        """Whether dropped weights may become active again."""
        return self.method in ("rigl", "set") and self.schedule.drop_fraction > 0

    @property
    def own_sparsities(self) -> tuple[tuple[str, float], ...]:
        """The patterns of ``layers``, each with its sparsity."""
        return cast(tuple[tuple[str, float], ...], self.layers)

    def _check_fixed(self) -> None:
        for name in ("sparsity", "distribution", "budget", "growth", "layers"):
            if (value := getattr(self, name)) not in (None, ()):
                raise ArgumentError(
                    f"method='fixed' and {name}={value!r}: the masks stay those that the layers have; leave out {name},"
                    " or choose another method"
                )

    def _check_budget(self, budget: Budget) -> None:
        if not isinstance(budget, Budget):
            raise ArgumentError(f"budget={budget!r}: must be a Budget(...), such as Budget(latency_us=40)")
        if self.sparsity is not None:
            raise ArgumentError(
                f"sparsity={self.sparsity!r} and Budget({budget.unit}={budget.limit:g}): give one of them,"
                " and sparsity=None where there is a budget"
            )
        if self.distribution is not None:
            raise ArgumentError(
                f"distribution={self.distribution!r}: a budget divides itself among the layers; leave it"
                " out, or pass distribution=None"
            )
        if self.layers:
            raise ArgumentError(
                f"layers and Budget({budget.unit}={budget.limit:g}): a budget divides itself among the layers; give one"
                " of them"
            )
        if self.growth is not None:
            raise ArgumentError(
                f"growth and Budget({budget.unit}={budget.limit:g}): what dendrites would cost is not known; give a"
                " sparsity in place of the budget, or leave out growth"
            )
        if isinstance(self.pattern, NM) or (budget.counts_slots and self.pattern not in (Slots(), Quads())):
            wanted = "Slots() or Quads()" if budget.counts_slots else "Slots(...), Quads(...) or Unstructured()"
            raise ArgumentError(f"pattern={self.pattern!r}: a budget of {budget.unit} needs {wanted}")

    def _check_quota(self, pattern: NM) -> None:
        if self.distribution != "uniform":
            raise ArgumentError(
                f"distribution={self.distribution!r}: {pattern} has one quota for every layer; use 'uniform'"
            )
        own = [("sparsity", self.sparsity), *((f"layers[{name!r}]", value) for name, value in self.own_sparsities)]
        for name, sparsity in own:
            if sparsity is None or 1 - sparsity <= pattern.n / pattern.m + 1e-9:
                continue
            raise ArgumentError(
                f"{name}={sparsity!r}: {pattern} cannot keep more than {pattern.n / pattern.m:.4g} of the"
                f" weights; use a sparsity of at least {1 - pattern.n / pattern.m:.6g} or a larger quota"
            )

    def timeline(self, total_steps: int) -> Timeline:
        """The schedule in steps, with what the method leaves out of it."""
        timeline = self.schedule.over(total_steps)
        if self.method == "fixed":
            return dataclasses.replace(timeline, switch=NEVER, ramp_end=NEVER, rewire_end=NEVER)
        if self.method == "static":
            return dataclasses.replace(timeline, ramp_end=timeline.switch, rewire_end=timeline.switch)
        if self.method == "magnitude":
            return dataclasses.replace(timeline, rewire_end=timeline.ramp_end, drop_fraction=0.0)
        return timeline

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON, with those of ``budget``, ``growth`` and ``layers`` that there are."""
        plain = json.loads(json.dumps(dataclasses.asdict(self)))  # tuples become lists
        pattern = {STORED_AS.get(name, name): value for name, value in plain["pattern"].items()}
        fields = {name: value for name, value in plain.items() if value or name not in OPTIONAL}
        return {"version": VERSION, **fields, "pattern": {"kind": kind_of(self.pattern), **pattern}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Recipe":
        """The recipe that :meth:`to_dict` described, in an older release too; unknown fields are refused."""
        version = data.get("version")
        if version != VERSION:
            raise StateError(
                f"recipe version {version!r}: this release of Sparbor reads version {VERSION};"
                " use the release that wrote it"
            )
        # What older releases did is what they meant.
        absent = {"budget": None, "growth": None, "layers": (), "lr_density_exponent": 0.0}
        given = {RENAMED.get(name, name): value for name, value in data.items() if name != "version"}
        if len(given) < len(data) - 1:
            raise StateError(_not_a_recipe("it has a field twice, by its old name and its new one"))
        fields = {**absent, **given}
        unlike = {part.name for part in dataclasses.fields(cls)} ^ set(fields)
        if unlike:
            raise StateError(_not_a_recipe(f"missing or unknown are {', '.join(sorted(unlike))}"))
        try:
            pattern = dict(fields.pop("pattern"))
            kind = pattern.pop("kind", None)
            if kind not in PATTERNS:
                raise StateError(_not_a_recipe(f"it has no pattern of kind {kind!r}"))
            fields["schedule"] = Schedule(**fields["schedule"])
            if fields["budget"] is not None:
                fields["budget"] = Budget.from_dict(fields["budget"])
            if fields["growth"] is not None:
                fields["growth"] = Growth.from_dict(fields["growth"])
            for name, stored in STORED_AS.items():
                if stored in pattern:
                    pattern[name] = pattern.pop(stored)
            return cls(pattern=PATTERNS[kind](**pattern), **fields)
        except (ArgumentError, StateError):
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(_not_a_recipe(str(error))) from error

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The recipe that :meth:`to_json` wrote."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise StateError(_not_a_recipe(str(error))) from error
        if not isinstance(data, dict):
            raise StateError(_not_a_recipe(f"it is a JSON {type(data).__name__}"))
        return cls.from_dict(data)


def _not_a_recipe(why: str) -> str:
    return f"not a recipe of version {VERSION}: {why}; write it with Recipe.to_json()"


def kind_of(pattern: Pattern) -> str:
    """What JSON calls its class."""
    return next(name for name, kind in PATTERNS.items() if isinstance(pattern, kind))
