"""``metrics.json`` read back: its version, and a check that it holds what reports need."""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparbor.errors import StateError
from sparbor.printable import printable

METRICS_VERSION = 1
REMEDY = "name the metrics.json of a run that ended, or run the benchmark again"

ARMS = ("baseline", "dendritic")
OTHERS = "*"  # in a form: what values under any other key are
LARGEST_NUMBER = 1e30
LONGEST_PLACE, LONGEST_VALUE = 80, 40


@dataclass(frozen=True)
class Number:
    """In a form: a number from ``low`` to ``high``, a whole one or any, or perhaps ``null``."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    optional: bool = False


MAYBE_TEXT = (str, type(None))
COUNT = Number(low=0, whole=True)
MAYBE_COUNT = Number(low=0, whole=True, optional=True)
SOME = Number(low=1, whole=True)
AMOUNT = Number(low=0)
MAYBE_AMOUNT = Number(low=0, optional=True)
PERCENT = Number(0, 100)
SHARE = Number(0, 1)
SPARSITY = Number(high=1)  # of a model: dendrites that have grown may add to all that it had
EFFORT = {"seconds": AMOUNT, "cpu_seconds": AMOUNT, "multiply_adds": MAYBE_COUNT, "energy_joules": MAYBE_AMOUNT}
EPOCH = {
    "epoch": COUNT,
    "training_loss": AMOUNT,
    "validation_accuracy_percent": PERCENT,
    "density": AMOUNT,
    **EFFORT,
    "layer_densities?": {OTHERS: SHARE},
}
RUNTIME = {
    "latency_us_median": AMOUNT,
    "latency_us_p95": AMOUNT,
    "memory_growth_bytes": MAYBE_COUNT,
    "memory_code_bytes?": MAYBE_COUNT,
    "process_peak_bytes": MAYBE_COUNT,
    "stored_bytes": COUNT,
    "batch": SOME,
    "threads": SOME,
}
LAYER = {
    "name": str,
    "shape": [SOME],
    "weights": COUNT,
    "active_weights": COUNT,
    "active_zeros": COUNT,
    "sparsity": SHARE,
}
ARM = {
    "epochs": [EPOCH],
    "densities": [{"step": COUNT, "density": AMOUNT}],
    "growth": [{"step": COUNT, "generation": COUNT, "what": str, "score": Number(0, 100, optional=True)}],
    "validation_accuracy_percent": PERCENT,
    "test_accuracy_percent": PERCENT,
    **{f"training_{name}": kind for name, kind in EFFORT.items()},
    "total_parameters": SOME,
    "active_parameters": COUNT,
    "sparsity": Number(high=1, optional=True),
    "layers": [LAYER],
    "runtimes": {"torch": RUNTIME, "sparbor": RUNTIME, OTHERS: RUNTIME},
}
DEPLOYED_LAYER = {
    "name": str,
    "kind": str,
    "weights?": str,
    "runs?": str,
    "precision?": str,  # what `weights` was called, in files of before version 3 of the model format
    "outputs": SOME,
    "fan_in": SOME,
    "active": COUNT,
    "bytes": COUNT,
}
DATA = {
    "title?": str,
    "source": str,
    "description": str,
    "official": bool,
    "training_images": SOME,
    "validation_images": COUNT,
    "test_images": SOME,
}
DEPLOYED = {
    "weights?": str,
    "kernels": str,
    "relative_error": AMOUNT,
    "test_accuracy_percent": PERCENT,
    "layers": [DEPLOYED_LAYER],
}
FORM = {
    "dataset": str,
    "data": DATA,
    "environment": {"cpu": MAYBE_TEXT, "device": str, "system": str, "python": str, "commit": MAYBE_TEXT},
    "training": {"epochs": SOME, "seed": COUNT, "batch": SOME, "steps_an_epoch": SOME, "switch_step": COUNT},
    "recipe": {},
    "baseline": ARM,
    "dendritic": {**ARM, "sparsity": SPARSITY, "cost": MAYBE_AMOUNT},
    "not_measured": {OTHERS: str},
    "deployed": DEPLOYED,
    "deployed_as?": {OTHERS: DEPLOYED},
    "remaining_error_reduction": Number(high=1, optional=True),
}
"""The keys that reports read: a type or several, a number's range, an object's keys (it may have others), or a list's
items.

A key with a question mark may be missing: files of earlier versions of Sparbor do not have it.
"""


def read(path: Path) -> dict[str, Any]:
    """The metrics of a run that ended.

    Raises:
        StateError: the file cannot be read, is no ``metrics.json``, is damaged, unfinished or of another version.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # a ValueError is a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise StateError(f"metrics={os.fspath(path)!r}: cannot be read ({reason}); {REMEDY}") from error
    try:
        metrics = json.loads(content, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise StateError(f"metrics={os.fspath(path)!r}: is not JSON ({error}); {REMEDY}") from error
    fault = _number_fault(metrics) or _version_fault(metrics) or form_fault(metrics, FORM) or _fit_fault(metrics)
    if fault is not None:
        raise StateError(f"metrics={os.fspath(path)!r}: {fault}; {REMEDY}")
    checked: dict[str, Any] = metrics
    return checked


def _first(faults: Iterable[str | None]) -> str | None:
    return next(filter(None, faults), None)


def _whole_number(text: str) -> float:
    """One of so many digits that Python would refuse it is out of all ranges as well."""
    return int(text) if len(text) <= LONGEST_PLACE else float(text)


def _number_fault(metrics: Any) -> str | None:
    """Numbers that no run has measured would end a report in the middle of its arithmetic, whatever key they have."""
    left = [("", metrics)]
    while left:
        where, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{where}.{name}" if where else name, each) for name, each in value.items()]
        elif isinstance(value, list):
            left += [(f"{where}[{i}]", each) for i, each in enumerate(value)]
        elif isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
            return _unlike(where, value, f"a number between {-LARGEST_NUMBER:g} and {LARGEST_NUMBER:g}")
    return None


def _version_fault(metrics: Any) -> str | None:
    if not isinstance(metrics, dict) or "version" not in metrics:
        return "has no version"
    if metrics["version"] != METRICS_VERSION or isinstance(metrics["version"], bool):
        return f"is of version {metrics['version']!r}, this Sparbor reads version {METRICS_VERSION}"
    return None


def _fit_fault(metrics: dict[str, Any]) -> str | None:
    """Contradictions, and parts that reports read in step: the epochs of both models, a budget and its cost."""
    for arm in ARMS:
        if (fault := _contradiction(metrics[arm], arm)) is not None:
            return fault
        if (entries := len(metrics[arm]["epochs"])) != metrics["training"]["epochs"]:
            return f"{arm}.epochs has {entries} entries, training.epochs is {metrics['training']['epochs']}"
    if (budget := metrics["recipe"].get("budget")) is None:
        return None
    if (fault := form_fault(budget, {"costs": {"unit": str}}, "recipe.budget")) is not None:
        return fault
    unit = budget["costs"]["unit"]
    return form_fault(budget, {unit: AMOUNT}, "recipe.budget") or form_fault(
        metrics["dendritic"]["cost"], AMOUNT, "dendritic.cost"
    )


def _contradiction(arm: dict[str, Any], name: str) -> str | None:
    """A part that is more than its whole, or a median above the 95th percentile."""
    pairs = [(name, arm, "active_parameters", "total_parameters")]
    pairs += [(f"{name}.layers[{i}]", layer, "active_weights", "weights") for i, layer in enumerate(arm["layers"])]
    pairs += [
        (f"{name}.runtimes.{runtime}", figures, "latency_us_median", "latency_us_p95")
        for runtime, figures in arm["runtimes"].items()
    ]
    for where, part, less, more in pairs:
        if part[less] > part[more]:
            return f"{_place(where)}.{less} is {part[less]}, at most {more} ({part[more]}) is expected"
    return None


def form_fault(value: Any, form: Any, where: str = "") -> str | None:
    """What of ``value`` is not of the form, or ``None``."""
    if isinstance(form, dict):
        return _object_fault(value, form, where)
    if isinstance(form, list):
        if not isinstance(value, list):
            return _unlike(where, value, "a list")
        return _first(form_fault(each, form[0], f"{where}[{i}]") for i, each in enumerate(value))
    kinds: tuple[type, ...] = form if isinstance(form, tuple) else (form,)
    if isinstance(form, Number):
        kinds = ((int,) if form.whole else (int, float)) + ((type(None),) if form.optional else ())
    fits = isinstance(value, kinds) and isinstance(value, bool) == (bool in kinds)
    if not fits:
        names = ("null" if kind is type(None) else kind.__name__ for kind in kinds)
        return _unlike(where, value, " or ".join(names))
    if isinstance(form, Number) and value is not None and not form.low <= value <= form.high:
        least, most = f"at least {form.low:g}", f"at most {form.high:g}"
        either = most if math.isinf(form.low) else f"{form.low:g} to {form.high:g}"
        return _unlike(where, value, least if math.isinf(form.high) else either)
    return None


def _object_fault(value: Any, form: dict[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return _unlike(where, value, "an object")
    prefix = f"{where}." if where else ""
    for name in form:
        if name != OTHERS and not name.endswith("?") and name not in value:
            return f"{_place(prefix + name)} is missing"
    parts = {name.removesuffix("?"): part for name, part in form.items()}
    known = ((name, part, parts.get(name, form.get(OTHERS))) for name, part in value.items())
    return _first(form_fault(part, each, f"{prefix}{name}") for name, part, each in known if each is not None)


def _unlike(where: str, value: Any, expected: str) -> str:
    text = json.dumps(value)
    brief = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
    return f"{_place(where)} is {brief}, {expected} is expected"


def _place(where: str) -> str:
    """A key's name, which may be anything, and as long as the file."""
    where = printable(where[: LONGEST_PLACE + 1]) or "it"
    return where if len(where) <= LONGEST_PLACE else f"{where[: LONGEST_PLACE - 3]}..."
