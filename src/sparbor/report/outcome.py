"""The page's beginning: did accuracy hold, and what in short did it save?"""

import math
from typing import Any
from xml.etree.ElementTree import Element

from sparbor.report.charts import Mark, Series, line_chart, ticks
from sparbor.report.elements import details, element, figure, paragraph, section, table
from sparbor.report.figures import ARMS, deployed_as, kilobytes, percent, weights_title

MOST_LABELS = 10


def key_figures(metrics: dict[str, Any]) -> Element:
    """Four pairs of figures: the dendritic model's, and the baseline's below."""
    baseline, dendritic = metrics["baseline"], metrics["dendritic"]
    ours, torch, engine = (
        dendritic["runtimes"]["sparbor"],
        baseline["runtimes"]["torch"],
        baseline["runtimes"]["sparbor"],
    )
    latency = [f"{each['latency_us_median']:.2f} µs" for each in (ours, torch, engine)]
    stored = [f"{kilobytes(each['stored_bytes'])} KB" for each in (ours, torch, engine)]
    accuracy = [f"{each['test_accuracy_percent']:.2f} %" for each in (dendritic, baseline)]
    parameters = f"{dendritic['active_parameters']:,}", f"of {dendritic['total_parameters']:,}"
    blocks = {
        "Test accuracy": (accuracy[0], f"{accuracy[1]} dense"),
        "Active parameters": parameters,
        "Latency, one image": (latency[0], f"{latency[1]} dense in PyTorch, {latency[2]} dense on the engine"),
        "Stored model": (stored[0], f"{stored[1]} dense for PyTorch, {stored[2]} dense for the engine"),
    }
    items = [
        element("div", element("dt", name), element("dd", value, class_="value"), element("dd", other))
        for name, (value, other) in blocks.items()
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
    images = metrics["data"]["test_images"]
    rows = [
        (name, metrics[arm]["test_accuracy_percent"], f"{metrics[arm]['validation_accuracy_percent']:.2f}")
        for arm, name in ARMS.items()
    ]
    columns = {
        "": lambda row: row[0],
        "test accuracy (%)": lambda row: f"{row[1]:.2f}",
        "95 % interval": lambda row: _interval(row[1], images),
        "validation accuracy (%)": lambda row: row[2],
    }
    for weights, deployed in deployed_as(metrics).items():
        name = f"dendritic, deployed with {weights_title(weights)} weights"
        rows.append((name, deployed["test_accuracy_percent"], "–"))
    return table("Accuracy of the final weights", rows, columns)


def _interval(accuracy: float, images: int) -> str:
    """Wilson's interval of a share of so many images, in percent."""
    share, z = accuracy / 100, 1.96
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    reach = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    return f"{100 * (middle - reach):.2f} to {100 * (middle + reach):.2f}"


def epoch_ticks(epochs: int) -> list[float]:
    """Whole numbers from 0 to ``epochs`` or a little beyond."""
    return [float(epoch) for epoch in range(epochs + 1)] if epochs <= MOST_LABELS else ticks(0, epochs, MOST_LABELS)


def marks(metrics: dict[str, Any]) -> list[Mark]:
    """When the dendritic model became sparse, and when dendrites were grown or taken back."""
    an_epoch, styles = metrics["training"]["steps_an_epoch"], {"grown": "grown", "rolled back": "taken-back"}
    growth = [event for event in metrics["dendritic"]["growth"] if event["what"] in styles]
    return [
        Mark(metrics["training"]["switch_step"] / an_epoch, "switch to dendrite mode", "switch"),
        *(Mark(each["step"] / an_epoch, f"dendrites {each['what']}", styles[each["what"]]) for each in growth),
    ]


def _accuracy_chart(metrics: dict[str, Any]) -> Element:
    series = []
    for arm, name in ARMS.items():
        points = [(epoch["epoch"] + 1, epoch["validation_accuracy_percent"]) for epoch in metrics[arm]["epochs"]]
        series.append(Series(name, arm, points))
    values = [value for each in series for _, value in each.points]
    description = "; ".join(
        f"{each.name}: from {each.points[0][1]:.2f} % after epoch 1 to {each.points[-1][1]:.2f} % after"
        f" epoch {each.points[-1][0]}"
        for each in series
    )
    at, heights = epoch_ticks(metrics["training"]["epochs"]), ticks(min(values), max(values))
    return line_chart(
        "accuracy-chart", "Validation accuracy by epoch", description, series, marks(metrics), at, heights
    )


def _epochs(metrics: dict[str, Any]) -> Element:
    figures = {
        "validation (%)": ("validation_accuracy_percent", ".2f"),
        "training loss": ("training_loss", ".4f"),
        "density": ("density", ".2%"),
        "seconds": ("seconds", ".2f"),
    }
    columns: dict[str, Any] = {"epoch": lambda at: str(metrics["baseline"]["epochs"][at]["epoch"] + 1)}
    for heading, (key, style) in figures.items():
        for arm, name in ARMS.items():
            epochs = metrics[arm]["epochs"]
            columns[f"{heading}, {name}"] = lambda at, e=epochs, k=key, s=style: format(e[at][k], s)
    return table("Both models after each epoch", range(len(metrics["baseline"]["epochs"])), columns)
