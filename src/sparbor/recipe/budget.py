"""What a sparse model may cost in the end, and what its layers cost: multiply-adds, bytes or latency."""

from dataclasses import dataclass
from typing import Any

from sparbor.errors import ArgumentError
from sparbor.recipe.checks import is_number

UNITS = ("multiply_adds", "kilobytes", "latency_us")


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs: ``fixed + each * n`` while it runs sparse, ``dense`` once it runs dense.

    ``n`` counts its active weights (multiply-adds) or its slots or quads (kilobytes, latency). The engine runs a layer
    dense when it has more than the share ``sparse_to`` of them. ``name`` is the layer's path in the model, ``weights``
    how many it has.
    """

    name: str
    weights: int
    fixed: float
    each: float
    dense: float
    sparse_to: float = 1.0

    def __post_init__(self) -> None:
        if not all(map(is_number, (self.fixed, self.each, self.dense))) or self.each <= 0:
            raise ArgumentError(
                f"the cost of layer {self.name!r} is fixed={self.fixed!r}, each={self.each!r}, dense={self.dense!r}:"
                " must be finite numbers, each above 0; make the costs with sparbor.calibrated()"
            )


@dataclass(frozen=True)
class Costs:
    """A model's costs in ``unit``: of each layer that can be sparse, and of the ``rest`` of one call.

    The rest of a latency may be below zero: each layer is timed by a call of its own.
    """

    unit: str
    rest: float
    layers: tuple[LayerCost, ...]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Costs":
        """The costs that ``dataclasses.asdict`` made plain data of."""
        return cls(data["unit"], data["rest"], tuple(LayerCost(**layer) for layer in data["layers"]))


@dataclass(frozen=True)
class Budget:
    """What a model may cost once it is sparse; exactly one of the three limits.

    Args:
        multiply_adds: of the active weights, for one item of the batch.
        kilobytes: of 1000 bytes, that the layers of the deployed model take (16-bit synapses; with the pattern
            ``Quads()`` 8-bit ones in linear layers).
        latency_us: microseconds for one item on one thread of this machine, by the engine's own cost model.
        costs: what the layers cost; :func:`sparbor.calibrated` counts or measures them.

    Raises:
        ArgumentError: no limit or several, one that is no positive number, or costs that are in another unit.

    >>> Budget(latency_us=40).unit
    'latency_us'
    """

    multiply_adds: float | None = None
    kilobytes: float | None = None
    latency_us: float | None = None
    costs: Costs | None = None

    def __post_init__(self) -> None:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            limits = ", ".join(f"{unit}={getattr(self, unit)!r}" for unit in given)
            raise ArgumentError(f"Budget({limits}): give exactly one of {', '.join(UNITS)}")
        limit = getattr(self, self.unit)
        if not is_number(limit) or limit <= 0:
            raise ArgumentError(f"Budget({self.unit}={limit!r}): must be a positive number")
        if self.costs is not None and (not isinstance(self.costs, Costs) or self.costs.unit != self.unit):
            raise ArgumentError(
                f"Budget({self.unit}={limit!r}): its costs are not in {self.unit};"
                " leave them out and call sparbor.calibrated(recipe, model, example)"
            )

    @property
    def unit(self) -> str:
        """Which limit is given."""
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    @property
    def limit(self) -> float:
        """The limit, in :attr:`unit`."""
        return float(getattr(self, self.unit))

    @property
    def counts_slots(self) -> bool:
        """Whether a slot or quad has a price, whatever the number of its neurons; else each weight has one."""
        return self.unit != "multiply_adds"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Budget":
        """The budget that ``dataclasses.asdict`` made plain data of."""
        costs = data["costs"]
        return cls(**{**data, "costs": None if costs is None else Costs.from_dict(costs)})
