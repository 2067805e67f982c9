"""What the arguments of recipes may be, and what is said of those that cannot be."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from sparbor.errors import ArgumentError

_Class = TypeVar("_Class", bound=type)
_PAIRS = (Mapping, tuple, list)
_EXAMPLE = "{'*.mlp.*': 0.95}"


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def are_names(value: object) -> bool:
    """Whether it is a tuple (or a list, which comes from JSON) of names."""
    return isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value)


def check_counts(owner: str, **values: object) -> None:
    """Refuse what is no whole number from 1 on."""
    for name, value in values.items():
        if not isinstance(value, int) or not is_number(value) or value < 1:
            raise ArgumentError(f"{owner}({name}={value!r}): {name} must be a whole number of at least 1")


def check_sparsity(sparsity: float) -> float:
    """Refuse a sparsity outside [0, 1)."""
    if not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise ArgumentError(
            f"sparsity={sparsity!r}: must be at least 0 and below 1, the share of weights to drop (0.9 keeps a tenth)"
        )
    return sparsity


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise ArgumentError(f"{name}={value!r}: must be one of {', '.join(map(repr, choices))}")


def layer_sparsities(layers: object) -> tuple[tuple[str, float], ...]:
    """The pairs of a name pattern and a sparsity that a mapping holds, or pairs as JSON has them."""
    pairs = tuple(layers.items() if isinstance(layers, Mapping) else layers) if isinstance(layers, _PAIRS) else None
    if pairs is None or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise ArgumentError(f"layers={layers!r}: must be a dict of name patterns and sparsities, such as {_EXAMPLE}")
    for name, sparsity in pairs:
        if not isinstance(name, str):
            raise ArgumentError(f"layers: {name!r} is no name; must be a pattern of layer names, such as in {_EXAMPLE}")
        if not is_number(sparsity) or not 0 <= sparsity < 1:
            raise ArgumentError(f"layers[{name!r}]={sparsity!r}: must be a sparsity of at least 0 and below 1")
    return tuple((name, sparsity) for name, sparsity in pairs)


def lr_exponent(value: object) -> float | tuple[float, float]:
    """A number from 0 to 1, or two of them as a tuple; JSON has lists."""
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_share, value)):
        return float(value[0]), float(value[1])
    if _is_share(value):
        return cast(float, value)
    raise ArgumentError(
        f"lr_density_exponent={value!r}: must lie between 0 and 1, or be a pair of such numbers: at the largest"
        " learning rate, and from half of it on"
    )


def _is_share(value: object) -> bool:
    return is_number(value) and 0 <= cast(float, value) <= 1


def refusing_old_names(renamed: Mapping[str, str]) -> Callable[[_Class], _Class]:
    """Make the constructor of a class say what an argument is called now."""

    def _decorate(cls: _Class) -> _Class:
        construct = cls.__init__  # type: ignore[misc]

        @functools.wraps(construct)
        def _init(self: Any, *args: Any, **fields: Any) -> None:
            for old, new in renamed.items():
                if old in fields:
                    raise ArgumentError(f"{old}={fields[old]!r}: it is called {new} now; pass {new}={fields[old]!r}")
            construct(self, *args, **fields)

        cls.__init__ = _init  # type: ignore[misc]
        return cls

    return _decorate
