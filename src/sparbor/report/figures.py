"""How figures of a run are written for people, and what they are called; what could not be measured says so."""

from typing import Any

NOT_MEASURED = "not measured"
RUNTIMES = {"torch": "PyTorch", "sparbor": "Sparbor engine", "onnxruntime": "ONNX Runtime"}


def runtime_title(name: str) -> str:
    """What people call a runtime of ``metrics.json``; one that this version does not know keeps its name."""
    return RUNTIMES.get(name, name)


def data_title(metrics: dict[str, Any]) -> str:
    """What headings call the data: files of earlier versions of Sparbor have no title."""
    data, name = metrics["data"], metrics["dataset"]
    return str(data.get("title", name if data["official"] else f"{name} (not the official bytes)"))


def percent(share: float | None) -> str:
    """A share, such as 0.9, in percent."""
    return "–" if share is None else f"{100 * share:.2f} %"


def megabytes(count: int | None) -> str:
    """Bytes in millions."""
    return NOT_MEASURED if count is None else f"{count / 1e6:.2f}"


def kilobytes(count: int | None) -> str:
    """Bytes in thousands."""
    return NOT_MEASURED if count is None else f"{count / 1e3:,.0f}"


def billions(count: int | None) -> str:
    """Operations in thousands of millions."""
    return "not counted" if count is None else f"{count / 1e9:,.1f}"


def joules(energy: float | None) -> str:
    """Energy, which few machines tell."""
    return "not measurable here" if energy is None else f"{energy:,.0f}"


def ratio(part: float | None, whole: float | None) -> str:
    """One figure over another, to two digits."""
    return "–" if part is None or not whole else f"{part / whole:.2f}"
