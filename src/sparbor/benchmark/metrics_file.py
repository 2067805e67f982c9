"""``metrics.json`` read back: its version, and a check that it holds what reports need."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparbor.errors import StateError

METRICS_VERSION = 1
REMEDY = "name the metrics.json of a run that ended, or run the benchmark again"

ARMS = ("baseline", "dendritic")
OTHERS = "*"  # in a form: what values under any other key are
LARGEST_NUMBER = 1e30
NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))
MAYBE_COUNT = (int, type(None))
MAYBE_TEXT = (str, type(None))
EFFORT = {"seconds": NUMBER, "cpu_seconds": NUMBER, "multiply_adds": MAYBE_COUNT, "energy_joules": MAYBE_NUMBER}
EPOCH = {
    "epoch": int,
    "training_loss": NUMBER,
    "validation_accuracy_percent": NUMBER,
    "density": NUMBER,
    **EFFORT,
    "layer_densities?": {OTHERS: NUMBER},
}
RUNTIME = {
    "latency_us_median": NUMBER,
    "latency_us_p95": NUMBER,
    "memory_growth_bytes": MAYBE_COUNT,
    "process_peak_bytes": MAYBE_COUNT,
    "stored_bytes": int,
    "batch": int,
    "threads": int,
}
LAYER = {"name": str, "shape": [int], "weights": int, "active_weights": int, "active_zeros": int, "sparsity": NUMBER}
ARM = {
    "epochs": [EPOCH],
    "densities": [{"step": int, "density": NUMBER}],
    "growth": [{"step": int, "generation": int, "what": str, "score": MAYBE_NUMBER}],
    "validation_accuracy_percent": NUMBER,
    "test_accuracy_percent": NUMBER,
    **{f"training_{name}": kind for name, kind in EFFORT.items()},
    "total_parameters": int,
    "active_parameters": int,
    "sparsity": MAYBE_NUMBER,
    "layers": [LAYER],
    "runtimes": {"torch": RUNTIME, "sparbor": RUNTIME, OTHERS: RUNTIME},
}
DEPLOYED_LAYER = {
    "name": str,
    "outputs": int,
    "fan_in": int,
    "kind": str,
    "precision": str,
    "active": int,
    "bytes": int,
}
FORM = {
    "dataset": str,
    "data": {
        "source": str,
        "description": str,
        "official": bool,
        "training_images": int,
        "validation_images": int,
        "test_images": int,
    },
    "environment": {"cpu": MAYBE_TEXT, "device": str, "system": str, "python": str, "commit": MAYBE_TEXT},
    "training": {"epochs": int, "seed": int, "batch": int, "steps_an_epoch": int, "switch_step": int},
    "recipe": {},
    "baseline": ARM,
    "dendritic": {**ARM, "sparsity": NUMBER, "cost": MAYBE_NUMBER},
    "not_measured": {OTHERS: str},
    "deployed": {
        "kernels": str,
        "relative_error": NUMBER,
        "test_accuracy_percent": NUMBER,
        "layers": [DEPLOYED_LAYER],
    },
    "remaining_error_reduction": MAYBE_NUMBER,
}
"""The keys that reports read: a type or several, an object's keys (it may have others), or a list's items.

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
        metrics = json.loads(content, parse_constant=_number, parse_float=_number, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise StateError(f"metrics={os.fspath(path)!r}: is not JSON ({error}); {REMEDY}") from error
    checks: tuple[Callable[[Any], str | None], ...] = (
        _version_fault,
        lambda read: form_fault(read, FORM),
        _range_fault,
        _fit_fault,
    )
    if (fault := next(filter(None, (check(metrics) for check in checks)), None)) is not None:
        raise StateError(f"metrics={os.fspath(path)!r}: {fault}; {REMEDY}")
    checked: dict[str, Any] = metrics
    return checked


def _number(text: str) -> float:
    """Numbers that no run has measured would end a report in the middle of its arithmetic."""
    if not abs(number := float(text)) <= LARGEST_NUMBER:
        raise ValueError(f"it has the number {text[:20]}")
    return number


def _whole_number(text: str) -> int:
    _number(text)
    return int(text)


def _version_fault(metrics: Any) -> str | None:
    if not isinstance(metrics, dict) or "version" not in metrics:
        return "has no version"
    if metrics["version"] != METRICS_VERSION or isinstance(metrics["version"], bool):
        return f"is of version {metrics['version']!r}, this Sparbor reads version {METRICS_VERSION}"
    return None


def _range_fault(metrics: dict[str, Any]) -> str | None:
    """What reports divide by is positive, and accuracies are percents."""
    limits = {name: (1.0, math.inf) for name in ("training.epochs", "training.steps_an_epoch", "data.test_images")}
    for arm in ARMS:
        limits |= {f"{arm}.total_parameters": (1, math.inf), f"{arm}.test_accuracy_percent": (0, 100)}
    limits["deployed.test_accuracy_percent"] = (0, 100)
    for where, (low, high) in limits.items():
        part, name = where.split(".")
        if not low <= (number := metrics[part][name]) <= high:
            return f"{where} is {number}, {low:g} to {high:g} is expected"
    return None


def _fit_fault(metrics: dict[str, Any]) -> str | None:
    """Parts that reports read in step: the epochs of both models, a budget and what the model costs by it."""
    for arm in ARMS:
        if (entries := len(metrics[arm]["epochs"])) != metrics["training"]["epochs"]:
            return f"{arm}.epochs has {entries} entries, training.epochs is {metrics['training']['epochs']}"
    if (budget := metrics["recipe"].get("budget")) is None:
        return None
    if (fault := form_fault(budget, {"costs": {"unit": str}}, "recipe.budget")) is not None:
        return fault
    unit = budget["costs"]["unit"]
    return form_fault(budget, {unit: NUMBER}, "recipe.budget") or form_fault(
        metrics["dendritic"]["cost"], NUMBER, "dendritic.cost"
    )


def form_fault(value: Any, form: Any, where: str = "") -> str | None:
    """What of ``value`` is not of the form, or ``None``."""
    if isinstance(form, dict):
        return _object_fault(value, form, where)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{where} is {_brief(value)}, a list is expected"
        return next(filter(None, (form_fault(each, form[0], f"{where}[{i}]") for i, each in enumerate(value))), None)
    kinds = form if isinstance(form, tuple) else (form,)
    if isinstance(value, bool) != (bool in kinds) or not isinstance(value, kinds):
        expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        return f"{where} is {_brief(value)}, {expected} is expected"
    return None


def _object_fault(value: Any, form: dict[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} is {_brief(value)}, an object is expected"
    prefix = f"{where}." if where else ""
    for name in form:
        if name != OTHERS and not name.endswith("?") and name not in value:
            return f"{prefix}{name} is missing"
    parts = {name.removesuffix("?"): part for name, part in form.items()}
    for name, part in value.items():
        expected = parts.get(name, form.get(OTHERS))
        if expected is not None and (fault := form_fault(part, expected, f"{prefix}{name}")) is not None:
            return fault
    return None


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
