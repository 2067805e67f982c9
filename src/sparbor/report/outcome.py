"""The page's beginning: did accuracy hold, and what in short did it save?"""

import math
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.charts import Mark, Series, line_chart, ticks
from sparbor.report.elements import element
from sparbor.report.figures import kilobytes, percent
from sparbor.report.parts import ARMS, details, figure, paragraph, section, table

MOST_LABELS = 10


def key_figures(metrics: dict[str, Any]) -> Element:
    """Four pairs of figures: the dendritic model's, and the baseline's below."""
    baseline, dendritic = metrics["baseline"], metrics["dendritic"]
    ours, dense = dendritic["runtimes"]["sparbor"], baseline["runtimes"]
    blocks = (
        (
            "Test accuracy",
            f"{dendritic['test_accuracy_percent']:.2f} %",
            f"{baseline['test_accuracy_percent']:.2f} % dense",
        ),
        (
            "Active parameters",
            f"{dendritic['active_parameters']:,}",
            f"of {dendritic['total_parameters']:,}",
        ),
        (
            "Latency, one image",
            f"{ours['latency_us_median']:.2f} µs",
            f"{dense['torch']['latency_us_median']:.2f} µs dense in PyTorch,"
            f" {dense['sparbor']['latency_us_median']:.2f} µs dense on the engine",
        ),
        (
            "Stored model",
            f"{kilobytes(ours['stored_bytes'])} KB",
            f"{kilobytes(dense['torch']['stored_bytes'])} KB dense for PyTorch,"
            f" {kilobytes(dense['sparbor']['stored_bytes'])} KB dense for the engine",
        ),
    )
    items = [
        element("div", element("dt", name), element("dd", value, class_="value"), element("dd", other))
        for name, value, other in blocks
    ]
    return element("dl", *items, class_="key")


def accuracy_section(metrics: dict[str, Any]) -> Element:
    """Accuracies of both models, on the test set and by epoch, and what such a difference is worth."""
    return section(
        "accuracy",
        "Did accuracy hold?",
        paragraph(_verdict(metrics)),
        _accuracies(metrics),
        figure("Validation accuracy (%) after each epoch", _accuracy_chart(metrics)),
        details("Both models, epoch by epoch", _epochs(metrics)),
    )


def _verdict(metrics: dict[str, Any]) -> str:
    images = metrics["data"]["test_images"]
    wrong = {arm: round((100 - metrics[arm]["test_accuracy_percent"]) / 100 * images) for arm in ARMS}
    reduction = metrics["remaining_error_reduction"]
    compared = "" if reduction is None else f": a remaining error reduction of {percent(reduction)}"
    if reduction is not None and reduction < 0:
        compared += ", which is to say more errors"
    return (
        f"Of {images:,} test images, read once after training, the dendritic model gets {wrong['dendritic']:,} wrong"
        f" and the dense baseline {wrong['baseline']:,}{compared}. This is one run with one seed"
        f" ({metrics['training']['seed']}): the intervals below say what the choice of test images alone may do, and"
        " another seed changes the figures as well."
    )


def _accuracies(metrics: dict[str, Any]) -> Element:
    images, deployed = metrics["data"]["test_images"], metrics["deployed"]["test_accuracy_percent"]
    rows = [
        [
            ARMS[arm],
            f"{metrics[arm]['test_accuracy_percent']:.2f}",
            _interval(metrics[arm]["test_accuracy_percent"], images),
            f"{metrics[arm]['validation_accuracy_percent']:.2f}",
        ]
        for arm in ARMS
    ]
    rows.append(["dendritic, deployed on the engine", f"{deployed:.2f}", _interval(deployed, images), "–"])
    headings = ["", "test accuracy (%)", "95 % interval", "validation accuracy (%)"]
    return table("Accuracy of the final weights", headings, rows)


def _interval(accuracy: float, images: int) -> str:
    """Wilson's interval of a share of so many images, in percent."""
    share, z = accuracy / 100, 1.96
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    reach = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    return f"{100 * (middle - reach):.2f} to {100 * (middle + reach):.2f}"


def epoch_ticks(epochs: int) -> list[float]:
    """Whole numbers from 0 to ``epochs`` or a little beyond."""
    if epochs <= MOST_LABELS:
        return [float(epoch) for epoch in range(epochs + 1)]
    return ticks(0, epochs, MOST_LABELS)


def marks(metrics: dict[str, Any]) -> list[Mark]:
    """When the dendritic model became sparse, and when dendrites were grown or taken back."""
    an_epoch = metrics["training"]["steps_an_epoch"]
    switch = Mark(metrics["training"]["switch_step"] / an_epoch, "switch to dendrite mode", "switch")
    growth = [
        Mark(event["step"] / an_epoch, f"dendrites {event['what']}", style)
        for event in metrics["dendritic"]["growth"]
        if (style := {"grown": "grown", "rolled back": "taken-back"}.get(event["what"]))
    ]
    return [switch, *growth]


def _accuracy_chart(metrics: dict[str, Any]) -> Element:
    series = [
        Series(
            name,
            arm,
            [(epoch["epoch"] + 1, epoch["validation_accuracy_percent"]) for epoch in metrics[arm]["epochs"]],
        )
        for arm, name in ARMS.items()
    ]
    values = [value for each in series for _, value in each.points]
    description = "; ".join(
        f"{each.name}: from {each.points[0][1]:.2f} % after epoch 1 to {each.points[-1][1]:.2f} % after"
        f" epoch {each.points[-1][0]}"
        for each in series
    )
    return line_chart(
        "accuracy-chart",
        "Validation accuracy by epoch",
        description,
        series,
        marks(metrics),
        epoch_ticks(metrics["training"]["epochs"]),
        ticks(min(values), max(values)),
    )


def _epochs(metrics: dict[str, Any]) -> Element:
    names = ("validation_accuracy_percent", "training_loss", "density", "seconds")
    formats = (".2f", ".4f", ".2%", ".2f")
    headings = ["epoch"]
    for name in ("validation (%)", "training loss", "density", "seconds"):
        headings += [f"{name}, {arm}" for arm in ARMS.values()]
    rows = []
    for both in zip(*(metrics[arm]["epochs"] for arm in ARMS), strict=True):
        cells = [f"{each[name]:{style}}" for name, style in zip(names, formats, strict=True) for each in both]
        rows.append([str(both[0]["epoch"] + 1), *cells])
    return table("Both models after each epoch", headings, rows)
