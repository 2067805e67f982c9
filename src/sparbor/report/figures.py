"""How figures of a run are written for people, and what they are called; what could not be measured says so."""

from collections.abc import Callable
from typing import Any

ARMS = {"baseline": "dense baseline", "dendritic": "dendritic"}
NOT_MEASURED = "not measured"
RUNTIMES = {
    "torch": "PyTorch",
    "sparbor": "Sparbor engine",
    "sparbor_int8": "Sparbor engine, 8 bits",
    "onnxruntime": "ONNX Runtime",
}


WEIGHTS = {"word16": "16-bit", "int8": "8-bit"}


def weights_title(name: str) -> str:
    """What people call the weights of a deployed model by how they are stored."""
    return WEIGHTS.get(name, name)


def deployed_as(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The deployed models by how their weights are stored; files of earlier versions of Sparbor have one, in words."""
    every: dict[str, dict[str, Any]] = metrics.get("deployed_as", {"word16": metrics["deployed"]})
    return every


def runtime_title(name: str) -> str:
    """What people call a runtime of ``metrics.json``; one that this version does not know keeps its name."""
    return RUNTIMES.get(name, name)


def data_title(metrics: dict[str, Any]) -> str:
    """What headings call the data: files of earlier versions of Sparbor have no title."""
    data, name = metrics["data"], metrics["dataset"]
    return str(data.get("title", name if data["official"] else f"{name} (not the official bytes)"))


def _written(style: str, unit: float = 1, missing: str = NOT_MEASURED) -> Callable[[float | None], str]:
    return lambda figure: missing if figure is None else style.format(figure / unit)


megabytes = _written("{:.2f}", 1e6)  # of bytes
kilobytes = _written("{:,.0f}", 1e3)
billions = _written("{:,.1f}", 1e9, "not counted")
joules = _written("{:,.0f}", missing="not measurable here")  # few machines tell
microseconds = _written("{:,.2f}")


def percent(share: float | None) -> str:
    """A share, such as 0.9, in percent."""
    return "–" if share is None else f"{100 * share:.2f} %"


def ratio(part: float | None, whole: float | None) -> str:
    """One figure over another, to two digits."""
    return "–" if part is None or not whole else f"{part / whole:.2f}"
